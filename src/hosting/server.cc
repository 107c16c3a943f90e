#include "hosting/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "json/writer.h"
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

class Server::Report final : public provision::StartReport {
 public:
  explicit Report(Server& server) : server_(server) {}
  void phase(provision::Phase now) override { server_.tell(Lifecycle::PhaseReached{now}); }
  void progress(std::string_view line) override {
    server_.log().line(provision::LogSource::kMcpbox, line);
    if (!line.starts_with(' ')) log::info(server_.name(), "{}", line);  // a step; its output is indented
  }
  void note(std::string_view line) override { server_.log().line(provision::LogSource::kMcpbox, line); }

 private:
  Server& server_;
};

Server::Server(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, config::ServerSettings settings,
               ServerParts parts, ServerTiming timing)
    : executor_(executor),
      threads_(pool),
      settings_(std::move(settings)),
      parts_(std::move(parts)),
      timing_(timing),
      changed_(executor),
      lifecycle_(RetryBudget(timing.first_retry)),
      instances_(executor),
      starting_(executor, settings_.name) {}

Server::~Server() = default;

void Server::tell(const Lifecycle::Event& event) {
  const ServerState state = lifecycle_.state();
  const provision::Phase phase = lifecycle_.phase();
  const std::size_t phases = lifecycle_.phases().size();
  Lifecycle::Action action = lifecycle_.on(event, Clock::now());
  if (action.kind != Kind::kNone) actions_.push_back(std::move(action));
  say_what_changed(state, phase, phases);
  changed_.notify();
}

void Server::say_what_changed(ServerState state, provision::Phase phase, std::size_t phases) {
  const ServerState now = lifecycle_.state();
  const std::string_view where = name_of(lifecycle_.phase());
  if (now == state && lifecycle_.phase() == phase) return;
  log::debug(name(), "{} {}", name_of(now), where);
  if (lifecycle_.phases().size() > phases) {
    const PhaseTime& took = lifecycle_.phases().back();
    if (took.duration > std::chrono::seconds(1)) {
      log::info(name(), "{} took {}", name_of(took.phase),
                human_milliseconds(static_cast<double>(took.duration.count())));
    }
  }
  if (now == ServerState::kConnected && state != now) {
    log::info(name(), "connected: {} tools", instances_.find(kShared)->session().tools().size());
  } else if (now == ServerState::kError) {
    log().line(provision::LogSource::kMcpbox, lifecycle_.error()->message());
    log::error(name(), "{}: {}", where, lifecycle_.error()->message());
  } else if (now == ServerState::kReconnecting) {
    log().line(provision::LogSource::kMcpbox, lifecycle_.error()->message());
    const auto delay = std::chrono::round<std::chrono::seconds>(*lifecycle_.wake() - Clock::now());
    log::warning(name(), "{}: {}; trying again in {} s", where, lifecycle_.error()->message(), delay.count());
  }
}

Task<void> Server::run() {
  tell(Lifecycle::Begin{});
  while (!lifecycle_.over() || !actions_.empty()) {
    if (actions_.empty()) observe();
    if (actions_.empty()) {
      (void)co_await changed_.wait_until(wake());
      continue;
    }
    Lifecycle::Action action = std::move(actions_.front());
    actions_.pop_front();
    co_await carry_out(std::move(action));
  }
}

void Server::observe() {
  const auto now = Clock::now();
  if (const auto due = lifecycle_.wake(); due && *due <= now) tell(Lifecycle::Tick{});
  Instance* instance = instances_.find(kShared);
  if (instance == nullptr) return;
  if (auto why = instance->look(now)) {
    tell(Lifecycle::Broke{std::move(*why)});
  } else if (instance->ready() && !lifecycle_.serving()) {
    tell(Lifecycle::Connected{});
  }
}

Clock::time_point Server::wake() const {
  auto until = lifecycle_.wake().value_or(Clock::time_point::max());
  if (const Instance* instance = instances_.find(kShared)) until = std::min(until, instance->wake().value_or(until));
  return until;
}

Task<void> Server::carry_out(Lifecycle::Action action) {
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
                            : Error(Code::kUnavailable, fmt::format("server '{}' was stopped", settings_.name));
      co_await instances_.retire(kShared, std::move(reason), broken);
      tell(Lifecycle::Ended{});
      break;
    }
    case Kind::kNone:
    case Kind::kOver:
      break;
  }
}

Task<void> Server::start(bool fresh) {
  // An exception, cancellation's among them, is an end without a result.
  struct Guard {
    Server& server;
    ~Guard() {
      if (server.start_open_) server.start_ended(fail(Code::kInternal, "starting ended without a result; see the log"));
    }
  } const guard{*this};
  Report report(*this);
  auto connection = co_await parts_.connector->connect({id_of(kShared), fresh}, report);
  if (!connection) {
    start_ended(fail(std::move(connection).error()));
    co_return;
  }
  auto channel = (*connection)->take_channel();
  if (!channel) {
    (void)co_await net::uninterrupted(stopped(**connection, timing_.grace));
    start_ended(fail(std::move(channel).error()));
    co_return;
  }
  const ConnectionView view = (*connection)->view();
  if (!view.environment.empty()) last_ = view;
  InstanceOptions options;
  options.session.client_version = MCPBOX_VERSION;
  options.session.initialize_timeout = timing_.initialize.value_or(settings_.box.startup_timeout);
  options.patience = timing_.patience;
  options.grace = timing_.grace;
  options.log_start = log_start_;
  auto instance = std::make_unique<Instance>(executor_, threads_, std::move(*connection), std::move(*channel),
                                             std::move(options), log());
  instance->start([this] { changed_.notify(); });
  instances_.add(kShared, std::move(instance));
  start_ended({});
}

void Server::start_ended(Result<void> outcome) {
  start_open_ = false;
  tell(Lifecycle::StartEnded{std::move(outcome)});
}

Task<void> Server::settle(Clock::time_point deadline) {
  while (!lifecycle_.settled() && Clock::now() < deadline) (void)co_await changed_.wait_until(deadline);
}

std::string Server::not_connected() const {
  const ServerState state = lifecycle_.state();
  if (state == ServerState::kConnected) return fmt::format("server '{}' is being stopped", settings_.name);
  std::string why = fmt::format("server '{}' is {}", settings_.name, name_of(state));
  if (state == ServerState::kStopped) why += fmt::format("; `mcpbox restart {}` starts it", settings_.name);
  if (lifecycle_.error()) why += fmt::format(" ({}): {}", name_of(lifecycle_.phase()), lifecycle_.error()->message());
  return why;
}

Task<Result<Answer>> Server::call_tool(std::string tool, json::RawObject arguments) {
  if (!lifecycle_.serving()) co_return fail(Code::kFailedPrecondition, not_connected());
  auto lease = co_await instances_.acquire(kShared);
  if (!lease) co_return fail(Code::kFailedPrecondition, not_connected());
  json::Writer params;
  params.object().member("name", tool).member("arguments", arguments.raw()).end();
  arguments = json::RawObject();
  auto reply = co_await (*lease)->call("tools/call", json::RawObject::of(params), settings_.tool_call_timeout);
  if (!reply) {
    if (reply.error().code() == Code::kTimeout && settings_.tool_call_timeout.count() > 0) {
      reply = fail(Code::kTimeout, fmt::format("{}; tool_call_timeout_sec gives it longer", reply.error().message()));
    }
    co_return fail(
        std::move(reply).error().with_context(fmt::format("server '{}', tool '{}'", settings_.name, printable(tool))));
  }
  co_return reply;
}

Result<std::shared_ptr<const std::string>> Server::tools_text() const {
  const Instance* instance = lifecycle_.serving() ? instances_.find(kShared) : nullptr;
  if (instance == nullptr) return fail(Code::kFailedPrecondition, not_connected());
  return instance->session().tools_text();
}

Task<Result<std::vector<provision::PullOutcome>>> Server::pull(provision::PullOptions options) {
  Copies* copies = parts_.connector->copies();
  if (copies == nullptr) {
    co_return fail(Code::kFailedPrecondition, fmt::format("server '{}' has no copy of a folder", settings_.name));
  }
  co_return co_await copies->pull(id_of(kShared), std::move(options));
}

ServerView Server::view() const {
  ServerView view;
  view.name = settings_.name;
  view.state = lifecycle_.state();
  view.phase = lifecycle_.phase();
  if (lifecycle_.error()) view.error = lifecycle_.error()->message();
  view.process = parts_.process;
  view.network = parts_.network;
  view.environment = last_.environment;
  view.packages = last_.packages;
  view.restarts = lifecycle_.starts() == 0 ? 0 : lifecycle_.starts() - 1;
  view.phases = lifecycle_.phases();
  if (const Instance* instance = instances_.find(kShared)) {
    const ConnectionView connection = instance->view();
    view.sandbox = connection.sandbox;
    view.pid = connection.pid;
    view.uid = connection.uid;
    if (view.state == ServerState::kConnected) {
      const mcp::ClientSession& session = instance->session();
      view.tool_count = session.tools().size();
      view.server_name = session.server().name;
      view.server_version = session.server().version;
      view.protocol_version = session.server().protocol_version;
    }
  }
  if (const auto since = lifecycle_.connected_since()) {
    view.uptime = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *since);
  }
  return view;
}

}  // namespace mcpbox::hosting
