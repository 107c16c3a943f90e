#include "hosting/hosted_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>
#include <variant>

#include "base/log.h"
#include "base/text.h"
#include "json/text.h"
#include "provision/egress_policy.h"
#include "provision/identity.h"

namespace mcpbox::hosting {
namespace {

using Clock = std::chrono::steady_clock;

// How long the last output of a process that ended is waited for: a child that it left may hold the pipes open.
constexpr std::chrono::milliseconds kDrain{300};

}  // namespace

// The process and the MCP session over its pipes.
struct HostedServer::Running {
  std::unique_ptr<provision::SandboxedProcess> process;
  std::unique_ptr<McpDriver> driver;

  bool ended() const { return process->ended().has_value(); }
  const provision::SandboxLost* lost() const {
    return ended() ? std::get_if<provision::SandboxLost>(&*process->ended()) : nullptr;
  }
};

// Where a start stands, as the server's state and log show it.
struct HostedServer::Report final : provision::StartReport {
  explicit Report(HostedServer& s) : self(s) {}
  HostedServer& self;
  provision::Phase now = provision::Phase::kNone;

  void phase(provision::Phase next) override {
    now = next;
    const bool starting = next == provision::Phase::kProcessStart;
    if (starting) self.fresh_ = false;  // what was to be dropped is
    self.enter(starting ? ServerState::kConnecting : ServerState::kPreparing, next);
  }
  void progress(std::string_view line) override {
    self.log_.line(provision::LogSource::kMcpbox, line);
    if (!line.starts_with(' ')) log::info(self.settings_.name, "{}", line);  // a step; its output is indented
  }
  void note(std::string_view line) override { self.log_.line(provision::LogSource::kMcpbox, line); }
};

HostedServer::HostedServer(HostContext& context, config::ServerSettings settings)
    : context_(context),
      settings_(std::move(settings)),
      process_id_(provision::process_id(settings_.name)),
      log_(context.executor, provision::redactor_for(settings_, egress_token_)),
      changed_(context.executor) {}

HostedServer::~HostedServer() = default;

void HostedServer::enter(ServerState state, provision::Phase phase) {
  close_phase();
  state_ = state;
  phase_ = phase;
  phase_began_ = Clock::now();
  log::debug(settings_.name, "{} {}", name_of(state), name_of(phase));
  changed_.notify();
}

void HostedServer::close_phase() {
  const bool timed = phase_ != provision::Phase::kNone && phase_ != provision::Phase::kRuntime &&
                     (state_ == ServerState::kPreparing || state_ == ServerState::kConnecting);
  if (!timed) return;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - phase_began_);
  phases_.push_back({phase_, took});
  if (took > std::chrono::seconds(1))
    log::info(settings_.name, "{} took {}", name_of(phase_), human_milliseconds(static_cast<double>(took.count())));
}

void HostedServer::request_stop() {
  stop_wanted_ = true;
  restart_wanted_ = false;
  changed_.notify();
}

void HostedServer::request_restart(bool fresh) {
  stop_wanted_ = false;
  restart_wanted_ = true;
  fresh_ = fresh_ || fresh;
  changed_.notify();
}

Task<void> HostedServer::run() {
  while (!shut_down_wanted_) {
    if (stop_wanted_) {
      error_.reset();
      enter(ServerState::kStopped, provision::Phase::kNone);
      while (stop_wanted_ && !shut_down_wanted_) co_await changed_.wait();
      continue;
    }
    if (restart_wanted_) {
      restart_wanted_ = false;
      budget_.reset();
    }
    connected_since_.reset();
    auto outcome = co_await attempt();
    if (outcome || asked()) continue;  // somebody asked for a stop or a restart

    error_ = std::move(outcome).error();
    log_.line(provision::LogSource::kMcpbox, error_->message());
    const auto delay = budget_.on_failure(Clock::now(), connected_since_);
    const bool hopeless =
        !connected_since_ && (error_->code() == Code::kInvalidArgument || error_->code() == Code::kPermissionDenied ||
                              error_->code() == Code::kFailedPrecondition);
    if (!delay || hopeless) {
      log::error(settings_.name, "{}: {}", name_of(phase_), error_->message());
      enter(ServerState::kError, phase_);
      while (!asked()) co_await changed_.wait();
      continue;
    }
    log::warning(settings_.name, "{}: {}; trying again in {} s", name_of(phase_), error_->message(),
                 std::chrono::duration_cast<std::chrono::seconds>(*delay).count());
    enter(ServerState::kReconnecting, phase_);
    const auto until = Clock::now() + *delay;
    while (!asked() && Clock::now() < until) (void)co_await changed_.wait_until(until);
  }
  enter(ServerState::kStopped, provision::Phase::kNone);
}

Task<Result<void>> HostedServer::attempt() {
  enter(ServerState::kPreparing, provision::Phase::kSessionCreate);
  phases_.clear();
  attempt_log_start_ = log_.last_sequence();
  // Starting can take minutes (an installation); a stop or a restart that is asked for meanwhile cancels it.
  std::optional<Result<std::unique_ptr<Running>>> started;
  net::TaskGroup starting(context_.executor, settings_.name);
  bool over =
      false;  // not starting.running(): a start that never waits is over before this waits, and still counts as running
  starting.spawn("start", start_into(started, over));
  while (!over && !asked()) co_await changed_.wait();
  co_await starting.stop();
  if (!started)
    co_return asked() ? Result<void>{} : fail(Code::kInternal, "starting ended without a result; see the log");
  if (!*started) co_return fail(std::move(*started).error());
  running_ = std::move(**started);
  auto outcome = co_await serve(*running_);
  const Error reason =
      outcome ? Error(Code::kUnavailable, fmt::format("server '{}' was stopped", settings_.name)) : outcome.error();
  co_await finish(std::move(running_), reason);
  co_return outcome;
}

Task<void> HostedServer::start_into(std::optional<Result<std::unique_ptr<Running>>>& out, bool& over) {
  struct Notify {
    net::Signal& changed;
    bool& over;
    ~Notify() {
      over = true;
      changed.notify();
    }
  } const notify{changed_, over};
  out = co_await start();
}

Task<Result<std::unique_ptr<HostedServer::Running>>> HostedServer::start() {
  Report report(*this);
  auto start = co_await provision::start_of(context_.host, settings_);
  if (!start) co_return fail(std::move(start).error());
  start->egress_token = egress_token_;
  start->fresh = fresh_;
  auto running = std::make_unique<Running>();
  auto process = co_await context_.connector.start(std::move(*start), report);
  // A start that is cancelled comes back with a process when that was there already: it is stopped by finish() then.
  co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
  if (!process) {
    // A program that is not there will not be there in two seconds either.
    const bool missing = report.now == provision::Phase::kProcessStart && process.error().code() == Code::kNotFound;
    Error error = std::move(process).error();
    if (missing) {
      error = Error(Code::kFailedPrecondition,
                    fmt::format("check `command` of server '{}': the program must be in the image, in a staged folder, "
                                "or come from npx or uvx: {}",
                                settings_.name, error.message()));
    }
    co_return fail(std::move(error));
  }
  running->process = std::move(*process);
  if (const auto& environment = running->process->environment()) {
    environment_ = environment->hash;
    packages_ = provision::packages_in_short(*environment);
  }
  running->process->on_change([this] { changed_.notify(); });
  ++starts_;

  enter(ServerState::kConnecting, provision::Phase::kMcpInit);
  mcp::SessionOptions session_options;
  session_options.client_version = MCPBOX_VERSION;
  session_options.initialize_timeout = settings_.box.startup_timeout;
  running->driver = std::make_unique<McpDriver>(context_.executor, context_.host.pool, running->process->take_pipes(),
                                                std::move(session_options), log_);
  running->driver->start([this] { changed_.notify(); });
  co_return running;
}

Task<Result<std::vector<provision::PullOutcome>>> HostedServer::pull(provision::PullOptions options) {
  auto start = co_await provision::start_of(context_.host, settings_);
  if (!start) co_return fail(std::move(start).error());
  auto pulled = co_await context_.connector.pull(std::move(*start), std::move(options));
  if (!pulled) co_return fail(std::move(pulled).error().with_context(fmt::format("server '{}'", settings_.name)));
  for (const provision::PullOutcome& outcome : *pulled) {
    log_.line(provision::LogSource::kMcpbox,
              fmt::format("pulled into {}: {} entries{}", printable(outcome.target), outcome.report.items.size(),
                          outcome.report.applied ? "" : ", nothing written"));
  }
  co_return pulled;
}

Error HostedServer::death_of(const Running& running) const {
  const std::string tail = log_.tail(attempt_log_start_);
  std::string how = "the server ended";
  if (const auto* lost = running.lost()) how = lost->how;
  if (running.ended() && running.lost() == nullptr)
    how = "the server ended: " + std::get<box::ProcessExit>(*running.process->ended()).describe();
  if (!tail.empty()) how += fmt::format(". Its last words:\n{}", tail);
  return Error(Code::kUnavailable, std::move(how));
}

Task<Result<void>> HostedServer::serve(Running& running) {
  McpDriver& driver = *running.driver;
  using mcp::SessionState;
  Result<void> outcome;
  for (;;) {
    if (asked()) break;
    if (running.ended()) {
      co_await drain(running);
      if (state_ == ServerState::kConnected) phase_ = provision::Phase::kRuntime;
      outcome = fail(death_of(running));
      break;
    }
    const SessionState state = driver.session().state();
    if (state == SessionState::kFailed) {
      Error error = driver.session().failure().value_or(Error(Code::kInternal, "the MCP session failed"));
      // A server that dies in its first second is better told by its exit.
      const auto soon = Clock::now() + std::chrono::milliseconds(500);
      while (!running.ended() && Clock::now() < soon) (void)co_await changed_.wait_until(soon);
      if (running.ended()) co_await drain(running);
      const std::string tail = log_.tail(attempt_log_start_);
      if (!tail.empty())
        error = Error(error.code(), fmt::format("{}. The server's last words:\n{}", error.message(), tail));
      outcome = running.ended() ? fail(death_of(running)) : fail(std::move(error));
      break;
    }
    if (driver.output_ended()) {
      // Its exit is on its way, as a rule.
      const auto soon = Clock::now() + std::chrono::seconds(1);
      while (!running.ended() && !asked() && Clock::now() < soon) (void)co_await changed_.wait_until(soon);
      if (running.ended() || asked()) continue;
      if (state_ == ServerState::kConnected) phase_ = provision::Phase::kRuntime;
      const std::string tail = log_.tail(attempt_log_start_);
      outcome = fail(Code::kUnavailable,
                     fmt::format("the server closed its stdout and goes on running, so it cannot answer any more{}{}",
                                 tail.empty() ? "" : ". Its last words:\n", tail));
      break;
    }
    if (state_ != ServerState::kConnected && state == SessionState::kReady && driver.session().tools_known()) {
      error_.reset();
      enter(ServerState::kConnected, provision::Phase::kNone);
      connected_since_ = Clock::now();
      log::info(settings_.name, "connected: {} tools", driver.session().tools().size());
    }
    co_await changed_.wait();
  }
  co_return outcome;
}

Task<void> HostedServer::drain(Running& running) {
  const auto until = Clock::now() + kDrain;
  while (!running.driver->drained() && running.lost() == nullptr && Clock::now() < until)
    (void)co_await changed_.wait_until(until);
}

Task<void> HostedServer::finish(std::unique_ptr<Running> running, Error reason) {
  if (!running->ended()) running->driver->close_stdin();
  co_await running->process->stop();
  co_await running->driver->stop(std::move(reason));
}

void HostedServer::request_shut_down() {
  shut_down_wanted_ = true;
  changed_.notify();
}

Task<void> HostedServer::settle(Clock::time_point deadline) {
  const auto settled = [this] {
    return state_ == ServerState::kConnected || state_ == ServerState::kError || state_ == ServerState::kStopped;
  };
  // A stop stays wanted while the server is stopped.
  const auto pending = [this] {
    return restart_wanted_ || shut_down_wanted_ || (stop_wanted_ && state_ != ServerState::kStopped);
  };
  while ((!settled() || pending()) && Clock::now() < deadline) (void)co_await changed_.wait_until(deadline);
}

std::string HostedServer::not_connected() const {
  if (state_ == ServerState::kConnected) return fmt::format("server '{}' is being stopped", settings_.name);
  std::string why = fmt::format("server '{}' is {}", settings_.name, name_of(state_));
  if (error_) why += fmt::format(" ({}): {}", name_of(phase_), error_->message());
  return why;
}

Task<Result<mcp::CallReply>> HostedServer::call_tool(std::string tool, std::string arguments_json) {
  if (state_ != ServerState::kConnected || !running_) {
    co_return fail(Code::kFailedPrecondition, not_connected());
  }
  std::string params = fmt::format(R"({{"name":{},"arguments":{}}})", json::quote(tool), arguments_json);
  auto reply = co_await running_->driver->call("tools/call", std::move(params), settings_.tool_call_timeout);
  if (!reply)
    co_return fail(
        std::move(reply).error().with_context(fmt::format("server '{}', tool '{}'", settings_.name, printable(tool))));
  co_return reply;
}

Result<std::vector<mcp::Tool>> HostedServer::tools() const {
  if (state_ != ServerState::kConnected || !running_) {
    return fail(Code::kFailedPrecondition, not_connected());
  }
  return running_->driver->session().tools();
}

ServerView HostedServer::view() const {
  ServerView view;
  view.name = settings_.name;
  view.state = state_;
  view.phase = phase_;
  if (error_) view.error = error_->message();
  view.process = process_id_;
  view.environment = environment_;
  view.network = provision::network_mode_name(settings_.box.network.mode);
  view.packages = packages_;
  view.restarts = starts_ == 0 ? 0 : starts_ - 1;
  view.phases = phases_;
  if (running_) {
    view.sandbox = running_->process->sandbox_name();
    view.pid = running_->process->pid();
    view.uid = running_->process->uid();
    if (state_ == ServerState::kConnected) {
      const mcp::ClientSession& session = running_->driver->session();
      view.tool_count = session.tools().size();
      view.server_name = session.server().name;
      view.server_version = session.server().version;
      view.protocol_version = session.server().protocol_version;
    }
  }
  if (connected_since_ && state_ == ServerState::kConnected) {
    view.uptime = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *connected_since_);
  }
  return view;
}

}  // namespace mcpbox::hosting
