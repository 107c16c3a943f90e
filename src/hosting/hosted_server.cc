#include "hosting/hosted_server.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "json/text.h"
#include "net/offload.h"
#include "provision/egress_policy.h"
#include "provision/identity.h"
#include "provision/missing_program.h"

namespace mcpbox::hosting {
namespace {

using Clock = std::chrono::steady_clock;

// Stdio transport, "Shutdown": close stdin, wait, SIGTERM, wait, SIGKILL. The waits are those of the official SDKs.
constexpr std::chrono::seconds kGrace{2};

// How long the last output of a process that ended is waited for: a child that it left may hold the pipes open.
constexpr std::chrono::milliseconds kDrain{300};

}  // namespace

// The process, the sandbox that it lives in, and the MCP session over its pipes.
struct HostedServer::Running {
  std::shared_ptr<provision::SharedSandbox> sandbox;
  std::string process_id;
  uid_t uid = 0;
  pid_t pid = 0;
  std::optional<box::ProcessExit> exit;
  std::optional<std::string> lost;
  std::unique_ptr<McpDriver> driver;
  std::shared_ptr<provision::EnvHold> environment;
  std::shared_ptr<egress::EgressGrant> egress;

  ~Running() {
    if (sandbox) sandbox->unwatch(process_id);
  }
  bool ended() const { return exit || lost; }
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

Task<Result<HostedServer::Place>> HostedServer::find_place() {
  std::string image = context_.default_image;
  if (settings_.box.image) {
    auto found = co_await context_.engine.image(*settings_.box.image);
    if (!found) {
      co_return fail(std::move(found).error().with_context(
          fmt::format("image '{}'; pull it with `mcpbox image pull {}`", *settings_.box.image, *settings_.box.image)));
    }
    image = found->id;
  }
  auto work = [this, image] { return provision::plan_server(settings_, context_.policy, image); };
  auto plan = co_await net::offload(context_.pool, std::move(work));
  if (!plan) co_return fail(std::move(plan).error());
  if (!plan->refused.empty()) {
    std::string text;
    for (const workspace::Refusal& refusal : plan->refused) {
      if (!text.empty()) text += "; ";
      text += printable(refusal.path) + ": " + refusal.reason;
    }
    co_return fail(Code::kPermissionDenied, text);
  }
  auto look_up = [book = context_.uids, name = settings_.name] { return book.server(name); };
  auto uids = co_await net::offload(context_.pool, std::move(look_up));
  if (!uids) co_return fail(std::move(uids).error());
  auto user = provision::user_for(*plan, uids->server);
  if (!user) co_return fail(std::move(user).error());

  box::SandboxOptions options = context_.sandbox_defaults;
  box::SandboxProfile& profile = options.profile;
  profile.image = image;
  if (settings_.box.cpus) profile.limits.cpus = *settings_.box.cpus;
  if (settings_.box.memory_mb) profile.limits.memory_bytes = *settings_.box.memory_mb << 20;
  if (settings_.box.pids_limit) profile.limits.processes = *settings_.box.pids_limit;
  if (settings_.box.read_only_rootfs) profile.read_only_root = *settings_.box.read_only_rootfs;
  profile.mounts = provision::mounts_for(*plan);
  const bool dedicated = context_.one_server_per_sandbox || settings_.box.isolation == config::Isolation::kDedicated ||
                         !profile.mounts.empty();
  options.name = dedicated ? process_id_.substr(0, 40) : fmt::format("shared-{}", profile.hash().substr(0, 8));
  options.workspace_volume = box::Sandbox::sandbox_name(options).append(provision::kWorkspaceSuffix);

  auto sandbox = co_await context_.sandboxes.acquire(std::move(options));
  if (!sandbox) co_return fail(std::move(sandbox).error());
  co_return Place{std::move(*plan), *user, *uids, std::move(*sandbox), image};
}

Task<Result<std::unique_ptr<HostedServer::Running>>> HostedServer::start() {
  auto place = co_await find_place();
  if (!place) co_return fail(std::move(place).error());
  const auto user = &place->user;
  const auto sandbox = &place->sandbox;
  box::Supervisor& supervisor = (*sandbox)->sandbox().supervisor();

  std::shared_ptr<egress::EgressGrant> egress;
  if (context_.egress != nullptr && settings_.box.network.mode != config::NetworkMode::kNone) {
    egress::EgressClient client;
    client.process = process_id_;
    client.server = settings_.name;
    client.uid = user->first;
    client.token = egress_token_;
    client.policy = provision::run_policy(settings_.box.network, provision::settings_of_user());
    auto granted = co_await context_.egress->grant(std::move(client));
    if (!granted) co_return fail(std::move(granted).error());
    egress = std::move(*granted);
  }

  provision::LaunchInputs inputs;
  inputs.network = settings_.box.network;
  if (egress) inputs.proxy_url = egress->proxy_url().reveal();
  inputs.server = settings_.name;
  inputs.process_id = process_id_;
  inputs.uid = user->first;
  inputs.gid = user->second;
  inputs.uids = place->uids;
  inputs.plan = std::move(place->plan);
  for (const auto* values : {&settings_.box.env, &settings_.env}) {
    for (const auto& [name, value] : *values) inputs.env[name] = std::string(value.text.reveal());
  }
  inputs.policy = context_.policy.staging();
  inputs.timeout = settings_.box.startup_timeout;
  inputs.restage = fresh_;
  inputs.manifest_dir = context_.manifest_dir;
  inputs.one_id = context_.one_server_per_sandbox;
  inputs.on_phase = [this](provision::Phase phase) { enter(ServerState::kPreparing, phase); };
  inputs.on_progress = [this](std::string_view line) {
    log_.line(provision::LogSource::kMcpbox, line);
    if (!line.starts_with(' ')) log::info(settings_.name, "{}", line);  // a step; its output is indented
  };
  auto launch =
      co_await provision::prepare_launch((*sandbox)->sandbox(), context_.installer, context_.pool, std::move(inputs));
  if (!launch) co_return fail(std::move(launch).error());
  for (const std::string& note : launch->notes) log_.line(provision::LogSource::kMcpbox, note);
  fresh_ = false;

  enter(ServerState::kConnecting, provision::Phase::kProcessStart);
  auto running = std::make_unique<Running>();
  if (launch->environment) {
    running->environment = launch->environment->hold;
    environment_ = launch->environment->record.hash;
    packages_ = provision::packages_in_short(launch->environment->record);
  }
  running->egress = std::move(egress);
  running->sandbox = *sandbox;
  running->process_id = process_id_;
  running->uid = user->first;
  Running* raw = running.get();
  (*sandbox)->watch(
      process_id_,
      [this, raw](const box::ProcessExit& how) {
        raw->exit = how;
        changed_.notify();
      },
      [this, raw](const std::string& how) {
        raw->lost = how;
        changed_.notify();
      });
  // Cancelled half-way it would leave a process that nobody knows; from here on a stop is carried out by finish().
  co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
  const std::string program = launch->process.argv.front();
  auto spawned = co_await supervisor.spawn(std::move(launch->process));
  if (!spawned) {
    // A program that is not there will not be there in two seconds either.
    const bool missing = spawned.error().code() == Code::kNotFound;
    Error error = std::move(spawned).error();
    co_return fail(
        missing ? Error(Code::kFailedPrecondition,
                        fmt::format("{}; check `command` of server '{}': the program must be in the image, in a staged "
                                    "folder, or come from npx or uvx; {}",
                                    error.message(), settings_.name,
                                    provision::missing_program_hint(program, place->image)))
                : std::move(error));
  }
  running->pid = spawned->pid;
  ++starts_;

  enter(ServerState::kConnecting, provision::Phase::kMcpInit);
  mcp::SessionOptions session_options;
  session_options.client_version = MCPBOX_VERSION;
  session_options.initialize_timeout = settings_.box.startup_timeout;
  running->driver =
      std::make_unique<McpDriver>(context_.executor, std::move(spawned->pipes), std::move(session_options), log_);
  running->driver->start([this] { changed_.notify(); });
  co_return running;
}

Task<Result<std::vector<provision::PullOutcome>>> HostedServer::pull(provision::PullOptions options) {
  auto place = co_await find_place();
  if (!place) co_return fail(std::move(place).error());
  provision::StageTarget user;
  user.uid = place->user.first;
  user.gid = place->user.second;
  provision::LaunchInputs inputs;
  inputs.process_id = process_id_;
  inputs.uid = user.uid;
  inputs.uids = place->uids;
  inputs.one_id = context_.one_server_per_sandbox;
  inputs.manifest_dir = context_.manifest_dir;
  auto pulled = co_await provision::pull_copies(context_.pool, place->sandbox->sandbox().supervisor(), settings_.name,
                                                std::move(place->plan.roots), context_.policy.staging(), user,
                                                provision::place_of(inputs), std::move(options));
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
  std::string how = running.lost   ? *running.lost
                    : running.exit ? "the server ended: " + running.exit->describe()
                                   : "the server ended";
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
  while (!running.driver->drained() && !running.lost && Clock::now() < until) (void)co_await changed_.wait_until(until);
}

Task<void> HostedServer::finish(std::unique_ptr<Running> running, Error reason) {
  box::Supervisor& supervisor = running->sandbox->sandbox().supervisor();
  if (!running->lost) {
    const auto wait_for_end = [&](Clock::time_point until) -> Task<void> {
      while (!running->ended() && Clock::now() < until) (void)co_await changed_.wait_until(until);
    };
    if (!running->exit) {
      running->driver->close_stdin();
      (void)co_await supervisor.close_stdin(running->process_id);
      co_await wait_for_end(Clock::now() + kGrace);
    }
    if (!running->ended()) {
      (void)co_await supervisor.signal(running->process_id, SIGTERM);
      co_await wait_for_end(Clock::now() + kGrace);
    }
    // Children, detached helpers, and the server itself if it is still there.
    auto left = co_await supervisor.kill_uid(running->uid, SIGKILL);
    if (left && *left > 0) log::error(settings_.name, "{} processes of uid {} survive SIGKILL", *left, running->uid);
    (void)co_await supervisor.forget(running->process_id);
  }
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
    view.sandbox = running_->sandbox->sandbox().state().name;
    view.pid = running_->pid;
    view.uid = running_->uid;
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
