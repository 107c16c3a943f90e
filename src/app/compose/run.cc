#include "app/compose/run.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "app/compose/engine_setup.h"
#include "app/compose/guardian.h"
#include "app/compose/paths.h"
#include "app/compose/progress.h"
#include "app/compose/run_plan.h"
#include "app/compose/runtime.h"
#include "app/compose/stdio_relay.h"
#include "app/compose/unserved_client.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "base/digest.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "box/bind_equipment.h"
#include "box/sandbox.h"
#include "config/keys.h"
#include "config/settings.h"
#include "egress/control/service.h"
#include "hosting/sandbox_backend.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/egress_policy.h"
#include "provision/install/installer.h"
#include "provision/launch.h"
#include "provision/sandboxed_connector.h"
#include "provision/uid_book.h"
#include "sys/process_name.h"
#include "sys/short_slices.h"
#include "sys/standard_descriptors.h"

namespace mcpbox::app {
namespace {

using Clock = std::chrono::steady_clock;

// After the end of input: how long a server may go on answering what it was asked, and how long it then has to end by
// itself before SIGTERM, and before SIGKILL (stdio transport, "Shutdown"; the official SDKs wait as long).
constexpr std::chrono::seconds kAnswering{30};
constexpr std::chrono::seconds kGrace{2};

void say(std::string_view text) {
  print_err("mcpbox: {}\n", text);
}

int exit_status(const box::ProcessExit& exit) {
  return exit.signal != 0 ? 128 + exit.signal : exit.code;
}

// Sandboxes that were made and never started, by runs that were killed together with their guardian. All others end by
// themselves.
Task<void> sweep(box::Engine& engine, std::string instance) {
  auto found = co_await engine.list(box::instance_labels(instance));
  if (!found) co_return;
  for (const box::SandboxState& sandbox : *found) {
    if (sandbox.running) continue;
    const auto owner = sandbox.labels.find(box::kOwnerLabel);
    if (owner == sandbox.labels.end() || sys::process_is_alive(owner->second)) continue;
    (void)co_await engine.remove(sandbox.id);
  }
}

// Everything that one run needs while its server lives.
class Run final : provision::StartReport {
 public:
  Run(Runtime& runtime, const RunOptions& options, Guardian& guardian)
      : runtime_(runtime),
        options_(options),
        guardian_(guardian),
        progress_(options.verbose),
        changed_(runtime.loop.get_executor()),
        tasks_(runtime.loop.get_executor(), "run") {}

  Task<int> run() {
    const auto executor = runtime_.loop.get_executor();
    tasks_.spawn("signals", on_stop_signal(runtime_, [this](int signal) {
                   stop_ = true;
                   if (signal_ == 0) signal_ = signal;
                   changed_.notify();
                 }));
    // The start can be cancelled by a signal; from then on the server's end decides.
    std::optional<int> code;
    net::TaskGroup starting(executor, "start");
    starting.spawn("start", start(code));
    // Not starting.running(): what fails without waiting once has said so before this waits, and counts as running for
    // a moment more.
    while (!started_ && !code && !stop_) co_await changed_.wait();
    co_await starting.stop();
    progress_.done();
    // Stopped by a signal before there was a server: not the server's failure.
    if (stop_ && !started_) {
      say("stopped before the server ran");
      code = 128 + signal_;
      why_not_.clear();
    }
    if (!code && !started_) {
      why_not_ = "the server was not started, because of an error of mcpbox's own; stderr says which";
      code = kRunCannotStart;
    }
    if (!code) code = co_await serve();
    process_.reset();
    if (sandboxes_) (void)co_await sandboxes_->close_all();
    if (egress_) {
      co_await egress_->stop();
      ::rmdir(egress_->directory().c_str());
    }
    co_await tasks_.stop();
    co_return *code;
  }

  // Why there was no server, for its client; empty when there was one, or nobody wants to know.
  const std::string& why_not() const { return why_not_; }
  provision::Phase phase_reached() const { return phase_; }

 private:
  int cannot_start(const Error& error) {
    progress_.done();
    say(error.message());
    why_not_ = error.message();
    return error.code() == Code::kInvalidArgument                 ? kUsage
           : error.code() == Code::kUnavailable && !engine_found_ ? kNoEngine
                                                                  : kRunCannotStart;
  }

  Task<void> start(std::optional<int>& code) {
    struct Notify {
      net::Signal& changed;
      ~Notify() { changed.notify(); }
    } const notify{changed_};
    auto begun = co_await begin();
    if (!begun && stop_) co_return;
    if (!begun) {
      const int failed = cannot_start(begun.error());
      code = process_missing_ ? kRunNotFound : failed;
      co_return;
    }
    started_ = true;
  }

  Task<Result<void>> begin() {
    const auto executor = runtime_.loop.get_executor();
    auto paths = make_paths("", "");
    if (!paths) co_return fail(std::move(paths).error());
    auto instance = instance_id(paths->state_dir);
    if (!instance) co_return fail(std::move(instance).error());
    auto init = find_init();
    if (!init) co_return fail(std::move(init).error());
    auto ca_bundle = resolve_ca_bundle(options_.ca_bundle);
    if (!ca_bundle) co_return fail(std::move(ca_bundle).error());
    auto env = run_environment(options_.env);
    if (!env) co_return fail(std::move(env).error());
    auto network = run_network(options_);
    if (!network) co_return fail(std::move(network).error());
    auto ports = run_ports(options_);
    if (!ports) co_return fail(std::move(ports).error());

    auto setup = co_await set_up_engine(executor, options_.engine, options_.image, *ca_bundle, progress_);
    if (!setup) co_return fail(std::move(setup).error());
    engine_found_ = true;
    setup_ = std::move(*setup);

    progress_.step("planning");
    auto plan = run_plan(options_, *env, setup_.image_id, paths->state_dir, setup_.info.address);
    if (!plan) co_return fail(std::move(plan).error());
    for (const std::string& hint : plan->hints) say("hint: " + hint);
    if (!plan->refused.empty()) {  // before anything is started for it
      co_return fail(Code::kPermissionDenied,
                     fmt::format("{}: {}", printable(plan->refused[0].path), plan->refused[0].reason));
    }
    const provision::UidBook book(paths->state_dir, *instance, setup_.info.kind, setup_.info.traits.uids);
    auto drawn = book.run();
    if (!drawn) co_return fail(std::move(drawn).error());

    box::SandboxOptions sandbox;
    sandbox.instance = *instance;
    sandbox.init_path = *init;
    sandbox.run_dir = paths->run_dir;
    sandbox.ca_bundle = *ca_bundle;
    sandbox.uids = setup_.info.traits.uids;
    sandbox.tools = setup_.info.traits.tools;
    sandbox.cache_volume = hosting::cache_volume(*instance);
    sandbox.profile.image = setup_.image_id;
    sandbox.profile.limits.cpus = options_.cpus;
    sandbox.profile.limits.memory_bytes = box::sandbox_memory(options_.memory_mb << 20);
    sandbox.profile.limits.processes = box::with_own_processes(options_.pids);
    sandbox.name = "run-" + random_hex(6);
    const std::string name_there = box::Sandbox::sandbox_name(sandbox);
    const std::string egress_name = name_there + ".egress";
    auto nonce = box::control_nonce();
    if (!nonce) co_return fail(std::move(nonce).error());
    sandbox.control_nonce = std::move(*nonce);
    std::vector<std::string> names{box::control_directory_name(name_there, sandbox.control_nonce), egress_name};
    if (plan->install) {
      names.push_back(box::control_directory_name(provision::Installer::sandbox_name(*instance, *plan->install),
                                                  sandbox.control_nonce));
    }
    guardian_.watch(setup_.info.address, *instance, paths->run_dir, names);

    const bool online = network->mode != config::NetworkMode::kNone;
    if (online || (plan->install && options_.install_mode != "offline")) {
      if (auto started = start_egress(*paths, paths->run_dir + "/" + egress_name); !started) co_return started;
      sandbox.egress_dir = egress_->directory();
    }

    provision::SandboxedStart start;
    // For messages and the audit: what is run, rather than what runs it.
    start.server =
        plan->install && !plan->install->asked.empty() ? plan->install->asked.front() : options_.command.front();
    start.process_id = "server";
    start.uids = drawn->uids;
    start.uid_hold = std::move(drawn->hold);
    for (const workspace::Root& root : plan->roots) start.policy.allowed_roots.push_back(root.host);
    start.policy.rules.denied = denied_places(*paths, setup_.info.address);
    start.policy.rules.home = paths->home;
    start.network = std::move(*network);
    start.ports = std::move(*ports);
    start.tell_later = [](std::string_view line) { say(line); };
    for (auto& [name, value] : *env) {
      if (config::is_secret_variable(name, value)) start.secrets.emplace_back(value);
      start.env[name] = Secret(std::move(value));
    }
    start.egress_token = egress::egress_token();
    start.timeout = std::chrono::seconds(options_.timeout_sec);
    start.nice = 0;
    start.accept_degraded = options_.accept_degraded;
    start.limits = run_limits(options_);
    if (options_.direct) start.stdio = {0, 1, 2};

    provision::InstallerOptions installing;
    installing.sandbox = sandbox;
    installing.env = provision::install_variables();
    installing.policy = start.policy;
    installing.egress = egress_.get();
    installing.uids = book;
    installing.state_dir = paths->state_dir;
    installing.engine = setup_.info.kind;
    installing.quota_bytes = config::BoxSettings{}.env_quota_mb << 20;
    installing.sources = offline_sources(options_);
    installer_ = std::make_unique<provision::Installer>(*setup_.engine, executor, runtime_.pool, std::move(installing));

    sandbox.ephemeral = true;
    sandbox.alone = true;
    sandbox.labels["io.mcpbox.kind"] = "run";
    sandbox.profile.mounts = provision::mounts_for(*plan);
    start.sandbox = std::move(sandbox);
    start.plan = std::move(*plan);
    sandboxes_ = std::make_unique<provision::SandboxPool>(*setup_.engine, executor, std::chrono::milliseconds(0),
                                                          provision::SandboxPool::LostCallback());
    provision::SandboxedConnector connector({executor, runtime_.pool, *sandboxes_, *installer_, egress_.get(), "",
                                             setup_.info.traits.one_server_per_sandbox});
    auto process = co_await connector.start(std::move(start), *this);
    process_missing_ =
        !process && phase_ == provision::Phase::kProcessStart && process.error().code() == Code::kNotFound;
    if (!process) co_return fail(std::move(process).error());
    process_ = std::move(*process);
    progress_.done();
    process_->on_change([this] { changed_.notify(); });
    tasks_.spawn("sweep", sweep(*setup_.engine, *instance));
    co_return Result<void>{};
  }

  void phase(provision::Phase now) override {
    phase_ = now;
    if (now == provision::Phase::kSessionCreate) progress_.step("making the sandbox");
    if (now == provision::Phase::kDepInstall) progress_.step("preparing dependencies");
    if (now == provision::Phase::kStage) progress_.step("staging");
    if (now == provision::Phase::kProcessStart) progress_.step("starting " + options_.command.front());
  }
  void progress(std::string_view line) override { progress_.detail(line); }
  void tell(std::string_view line) override { say(line); }
  void note(std::string_view line) override {
    if (options_.verbose) say(line);
  }

  Result<void> start_egress(const Paths& paths, std::string directory) {
    egress::EgressServiceOptions egress;
    egress.one_server_per_sandbox = setup_.info.traits.one_server_per_sandbox;
    egress.directory = std::move(directory);
    egress.audit_directory = paths.state_dir + "/egress";
    config::EgressSettings settings;
    settings.allow_private = options_.allow_private;
    std::string note;
    egress.network = provision::network_text(settings, provision::settings_of_user(), note);
    if (!note.empty()) say(note);
    auto started = egress::EgressService::start(runtime_.loop.get_executor(), std::move(egress));
    if (!started) return fail(std::move(started).error());
    egress_ = std::move(*started);
    return {};
  }

  bool over() const { return process_->ended().has_value(); }

  Task<int> serve() {
    if (options_.direct) {
      watch_input_for_direct();
    } else if (auto relaying = start_relay(); !relaying) {
      co_return cannot_start(relaying.error());
    }
    while (!over() && !stop_ && !input_ended_) co_await changed_.wait();
    if (!over()) co_await end_server();

    // Children and detached helpers keep the pipes open: with them gone, the relay sees their end.
    co_await process_->stop({std::chrono::milliseconds(0), kGrace});
    const auto* exit = over() ? std::get_if<box::ProcessExit>(&*process_->ended()) : nullptr;
    const auto* lost = over() ? std::get_if<provision::SandboxLost>(&*process_->ended()) : nullptr;
    const std::string how = exit != nullptr ? exit->describe() : lost != nullptr ? lost->how : "it does not end";
    if (relay_) {
      const auto until = Clock::now() + std::chrono::seconds(5);
      while (!relay_done_ && Clock::now() < until) (void)co_await changed_.wait_until(until);
      relay_->abandon();
      relay_thread_.join();
      relay_->fail_pending(fmt::format("the MCP server ended before it answered: {}", how));
    }
    close_direct_watch();
    if (exit == nullptr) {
      say(fmt::format("the server is gone: {}", how));
      co_return kRunCannotStart;
    }
    if (const int error = relay_ ? relay_->client_error() : 0; error != 0) {
      say(fmt::format("stdout: {}; what the server said did not arrive entire", std::strerror(error)));
      co_return exit_status(*exit) != kOk ? exit_status(*exit) : kRunCannotStart;
    }
    const bool wanted = stop_ || input_ended_;
    const bool crashed = exit->signal != 0 && exit->signal != SIGTERM && exit->signal != SIGKILL;
    if (exit->limit.which == box::LimitKind::kNone && exit->killed_for_memory) {
      say(fmt::format("the server ended: {}; raise --memory (now {} MiB)", how, options_.memory_mb));
    } else if (exit->limit.which != box::LimitKind::kNone || crashed || (!wanted && exit_status(*exit) != kOk)) {
      say(process_->sentence(*exit));
    }
    co_return exit_status(*exit);
  }

  // End of input, or a signal: as the stdio transport prescribes. What still runs then gets SIGTERM and SIGKILL.
  Task<void> end_server() {
    co_await process_->close_stdin();
    if (stop_) co_return;
    const auto until = Clock::now() + kAnswering;
    while (!over() && !stop_ && !client_gone_ && relay_ && relay_->in_flight() > 0 && Clock::now() < until) {
      (void)co_await changed_.wait_until(std::min(until, Clock::now() + std::chrono::milliseconds(50)));
    }
    const auto grace = Clock::now() + kGrace;
    while (!over() && !stop_ && Clock::now() < grace) (void)co_await changed_.wait_until(grace);
  }

  Result<void> start_relay() {
    RelayEnds ends;
    box::ProcessPipes pipes = process_->take_pipes();
    auto in = nonblocking_view(0, false);
    if (!in) return fail(std::move(in).error().with_context("stdin"));
    auto out = nonblocking_view(1, true);
    if (!out) return fail(std::move(out).error().with_context("stdout"));
    auto log = nonblocking_view(2, true);
    if (!log) return fail(std::move(log).error().with_context("stderr"));
    ends.client_in = std::move(*in);
    ends.client_out = std::move(*out);
    ends.log = std::move(*log);
    ends.server_in = std::move(pipes.in);
    ends.server_out = std::move(pipes.out);
    ends.server_err = std::move(pipes.err);
    const auto on_loop = [this](bool Run::* flag) {
      boost::asio::post(runtime_.loop, [this, flag] {
        this->*flag = true;
        changed_.notify();
      });
    };
    StdioRelay::Events events;
    events.client_closed = [on_loop] { on_loop(&Run::input_ended_); };
    events.client_gone = [on_loop] {
      on_loop(&Run::client_gone_);
      on_loop(&Run::input_ended_);
    };
    relay_ = std::make_unique<StdioRelay>(std::move(ends), std::move(events));
    relay_thread_ = std::thread([this, on_loop] {
      sys::ask_for_short_slices();
      relay_->run();
      on_loop(&Run::relay_done_);
    });
    return {};
  }

  // With --direct the bytes do not pass here; that the client closed its end is seen as POLLHUP without reading
  // anything.
  void watch_input_for_direct() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    direct_cancel_ = UniqueFd(ends[1]);
    direct_thread_ = std::thread([this, cancel = UniqueFd(ends[0])] {
      pollfd polled[2] = {{0, 0, 0}, {cancel.get(), 0, 0}};
      while (::poll(polled, 2, -1) < 0 && errno == EINTR) {
      }
      if ((polled[0].revents & (POLLHUP | POLLERR)) == 0) return;
      boost::asio::post(runtime_.loop, [this] {
        input_ended_ = true;
        changed_.notify();
      });
    });
  }

  void close_direct_watch() {
    direct_cancel_.reset();
    if (direct_thread_.joinable()) direct_thread_.join();
  }

  Runtime& runtime_;
  const RunOptions& options_;
  Guardian& guardian_;
  ProgressPrinter progress_;
  net::Signal changed_;
  net::TaskGroup tasks_;
  EngineSetup setup_;
  std::unique_ptr<egress::EgressService> egress_;
  std::unique_ptr<provision::Installer> installer_;
  std::unique_ptr<provision::SandboxPool> sandboxes_;
  std::unique_ptr<provision::SandboxedProcess> process_;
  std::unique_ptr<StdioRelay> relay_;
  std::thread relay_thread_;
  std::thread direct_thread_;
  UniqueFd direct_cancel_;
  provision::Phase phase_ = provision::Phase::kNone;
  std::string why_not_;
  bool engine_found_ = false;
  bool process_missing_ = false;
  bool started_ = false;
  bool stop_ = false;
  int signal_ = 0;  // the first that asked to stop
  bool input_ended_ = false;
  bool client_gone_ = false;
  bool relay_done_ = false;
};

}  // namespace

int run_server(RunOptions options) {
  set_settings_from(SettingsFrom::kOptions);
  if (!sys::is_writable(STDOUT_FILENO)) {
    say("stdout is closed: nobody would hear the server");
    return kRunCannotStart;
  }
  Unserved unserved;
  const auto end = [&](int code) {
    unserved.exit_code = code;
    if (!unserved.why.empty() && !options.direct) answer_unserved_client(STDIN_FILENO, STDOUT_FILENO, unserved);
    return code;
  };
  if (auto resolved = resolve_rootfs(options); !resolved) {
    say(resolved.error().message());
    unserved.why = resolved.error().message();
    return end(kUsage);
  }
  Guardian guardian = Guardian::start();
  const int code = run_on_loop([&](Runtime& runtime) -> Task<int> {
    Run run(runtime, options, guardian);
    const int ended_with = co_await run.run();
    unserved.why = run.why_not();
    unserved.phase = provision::name_of(run.phase_reached());
    co_return ended_with;
  });
  guardian.dismiss();
  // With nothing left of the run, and signals ending us as usual.
  return end(code);
}

}  // namespace mcpbox::app
