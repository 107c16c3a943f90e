#include "hosting/instance_life.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "net/uninterrupted.h"

namespace mcpbox::hosting {

using Clock = std::chrono::steady_clock;
using Kind = Lifecycle::Action::Kind;

namespace {

Task<bool> stopped(Connection& connection, Grace grace) {
  co_await connection.stop(grace);
  co_return true;
}

}  // namespace

struct InstanceLife::Running {
  Running(boost::asio::any_io_executor executor, std::unique_ptr<Instance> one)
      : instance(std::move(one)), returned(std::move(executor)) {}
  std::unique_ptr<Instance> instance;
  unsigned leases = 0;
  bool ending = false;
  net::Signal returned;
};

InstanceLife::Lease::Lease(std::shared_ptr<Running> running) : running_(std::move(running)) {
  ++running_->leases;
}

InstanceLife::Lease::~Lease() {
  if (!running_) return;
  --running_->leases;
  running_->returned.notify();
}

Instance* InstanceLife::Lease::operator->() const {
  return running_->instance.get();
}

class InstanceLife::Report final : public provision::StartReport {
 public:
  explicit Report(InstanceLife& life) : life_(life) {}
  void phase(provision::Phase now) override { life_.tell(Lifecycle::PhaseReached{now}); }
  void progress(std::string_view line) override {
    life_.log().line(provision::LogSource::kMcpbox, line);
    if (!line.starts_with(' ')) log::info(life_.server(), "{}", line);  // a step; its output is indented
  }
  void note(std::string_view line) override { life_.log().line(provision::LogSource::kMcpbox, line); }

 private:
  InstanceLife& life_;
};

InstanceLife::InstanceLife(InstanceContext& context, InstanceId id)
    : context_(context),
      id_(std::move(id)),
      lifecycle_(RetryBudget(context.timing.first_retry)),
      starting_(context.executor, context.settings.name) {}

InstanceLife::~InstanceLife() = default;

const Instance* InstanceLife::instance() const {
  return running_ && !running_->ending ? running_->instance.get() : nullptr;
}

Result<InstanceLife::Lease> InstanceLife::lease() {
  if (!lifecycle_.serving() || instance() == nullptr) return fail(Code::kFailedPrecondition, not_connected());
  return Lease(running_);
}

void InstanceLife::tell(const Lifecycle::Event& event) {
  const ServerState state = lifecycle_.state();
  const provision::Phase phase = lifecycle_.phase();
  const std::size_t phases = lifecycle_.phases().size();
  Lifecycle::Action action = lifecycle_.on(event, Clock::now());
  if (action.kind != Kind::kNone) actions_.push_back(std::move(action));
  say_what_changed(state, phase, phases);
  context_.changed.notify();
}

void InstanceLife::say_what_changed(ServerState state, provision::Phase phase, std::size_t phases) {
  const ServerState now = lifecycle_.state();
  const std::string_view where = name_of(lifecycle_.phase());
  if (now == state && lifecycle_.phase() == phase) return;
  log::debug(server(), "{} {}", name_of(now), where);
  if (lifecycle_.phases().size() > phases) {
    const PhaseTime& took = lifecycle_.phases().back();
    if (took.duration > std::chrono::seconds(1)) {
      log::info(server(), "{} took {}", name_of(took.phase),
                human_milliseconds(static_cast<double>(took.duration.count())));
    }
  }
  if (now == ServerState::kConnected && state != now) {
    const std::size_t tools = running_->instance->session().tools().size();
    log::info(server(), "connected: {} tool{}", tools, tools == 1 ? "" : "s");
  } else if (now == ServerState::kError) {
    log().line(provision::LogSource::kMcpbox, trouble());
    log::error(server(), "{}: {}", where, trouble());
  } else if (now == ServerState::kReconnecting) {
    log().line(provision::LogSource::kMcpbox, lifecycle_.error()->message());
    const auto delay = std::chrono::round<std::chrono::seconds>(*lifecycle_.wake() - Clock::now());
    log().line(provision::LogSource::kMcpbox, fmt::format("trying again in {} s (retry {} of {})", delay.count(),
                                                          lifecycle_.budget().used(), RetryBudget::kRetries));
    log::warning(server(), "{}: {}; trying again in {} s", where, lifecycle_.error()->message(), delay.count());
  }
}

Task<void> InstanceLife::run() {
  tell(Lifecycle::Begin{});
  while (!lifecycle_.over() || !actions_.empty()) {
    if (actions_.empty()) observe();
    if (actions_.empty()) {
      (void)co_await context_.changed.wait_until(wake());
      continue;
    }
    Lifecycle::Action action = std::move(actions_.front());
    actions_.pop_front();
    co_await carry_out(std::move(action));
  }
}

void InstanceLife::observe() {
  const auto now = Clock::now();
  if (const auto due = lifecycle_.wake(); due && *due <= now) tell(Lifecycle::Tick{});
  if (instance() == nullptr) return;
  if (auto why = running_->instance->look(now)) {
    tell(Lifecycle::Broke{std::move(*why)});
  } else if (running_->instance->ready() && !lifecycle_.serving()) {
    tell(Lifecycle::Connected{});
  }
}

Clock::time_point InstanceLife::wake() const {
  auto until = lifecycle_.wake().value_or(Clock::time_point::max());
  if (const Instance* one = instance()) until = std::min(until, one->wake().value_or(until));
  return until;
}

Task<void> InstanceLife::carry_out(Lifecycle::Action action) {
  switch (action.kind) {
    case Kind::kStart:
      log_start_ = log().last_sequence();
      start_open_ = true;
      starting_.spawn("start", start(lifecycle_.fresh()));
      break;
    case Kind::kCancelStart:
      co_await starting_.stop();
      // A start that was cancelled before its first step has told nothing.
      if (start_open_) start_ended(fail(Code::kCancelled, "the start was cancelled"));
      break;
    case Kind::kEnd: {
      const bool broken = action.why.has_value();
      Error reason = broken ? std::move(*action.why)
                            : Error(Code::kUnavailable, fmt::format("server '{}' was stopped", context_.settings.name));
      co_await end(std::move(reason), broken);
      tell(Lifecycle::Ended{});
      break;
    }
    case Kind::kNone:
    case Kind::kOver:
      break;
  }
}

Task<void> InstanceLife::start(bool fresh) {
  // An exception, cancellation's among them, is an end without a result.
  struct Guard {
    InstanceLife& life;
    ~Guard() {
      if (life.start_open_) life.start_ended(fail(Code::kInternal, "starting ended without a result; see the log"));
    }
  } const guard{*this};
  Report report(*this);
  auto connection = co_await context_.parts.connector->connect({id_, fresh}, report);
  if (!connection) {
    start_ended(fail(std::move(connection).error()));
    co_return;
  }
  auto channel = (*connection)->take_channel();
  if (!channel) {
    (void)co_await net::uninterrupted(stopped(**connection, context_.timing.grace));
    start_ended(fail(std::move(channel).error()));
    co_return;
  }
  const ConnectionView view = (*connection)->view();
  if (!view.environment.empty()) last_ = view;
  InstanceOptions options;
  options.session.client_version = MCPBOX_VERSION;
  options.session.initialize_timeout = context_.timing.initialize.value_or(context_.settings.box.startup_timeout);
  options.patience = context_.timing.patience;
  options.grace = context_.timing.grace;
  options.log_start = log_start_;
  auto instance = std::make_unique<Instance>(context_.executor, context_.threads, std::move(*connection),
                                             std::move(*channel), std::move(options), log());
  instance->start([this] { context_.changed.notify(); });
  running_ = std::make_shared<Running>(context_.executor, std::move(instance));
  start_ended({});
}

void InstanceLife::start_ended(Result<void> outcome) {
  start_open_ = false;
  tell(Lifecycle::StartEnded{std::move(outcome)});
}

Task<void> InstanceLife::end(Error reason, bool broken) {
  const std::shared_ptr<Running> running = running_;
  if (!running) co_return;
  running->ending = true;
  co_await running->instance->end(std::move(reason), broken);
  while (running->leases > 0) co_await running->returned.wait();
  running_.reset();
}

std::string InstanceLife::not_connected() const {
  const ServerState state = lifecycle_.state();
  if (state == ServerState::kConnected) return fmt::format("server '{}' is being stopped", context_.settings.name);
  std::string why = fmt::format("server '{}' is {}", context_.settings.name,
                                state == ServerState::kError ? "not running" : name_of(state));
  if (state == ServerState::kStopped) why += fmt::format("; `mcpbox restart {}` starts it", context_.settings.name);
  if (lifecycle_.error()) why += fmt::format(" ({}): {}", name_of(lifecycle_.phase()), trouble());
  return why;
}

std::string InstanceLife::trouble() const {
  const std::optional<Error>& error = lifecycle_.error();
  if (!error) return {};
  const std::string& why = error->message();
  if (lifecycle_.state() != ServerState::kError) return why;
  const unsigned retries = lifecycle_.budget().used();
  // Before the reason, which may end with many lines of the server's.
  return retries < RetryBudget::kRetries
             ? fmt::format(
                   "not tried again, because waiting does not help; once it is mended, `mcpbox restart {}` starts it: "
                   "{}",
                   context_.settings.name, why)
             : fmt::format("given up after {} retries, `mcpbox restart {}` starts it again: {}", retries,
                           context_.settings.name, why);
}

}  // namespace mcpbox::hosting
