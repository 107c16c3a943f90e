#include "app/compose/run.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "app/compose/engine_setup.h"
#include "app/compose/guardian.h"
#include "app/compose/paths.h"
#include "app/compose/progress.h"
#include "app/compose/run_plan.h"
#include "app/compose/runtime.h"
#include "app/compose/stdio_relay.h"
#include "app/exit_code.h"
#include "base/digest.h"
#include "base/text.h"
#include "box/sandbox.h"
#include "config/settings.h"
#include "egress/control/service.h"
#include "hosting/host.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/egress_policy.h"
#include "provision/environment.h"
#include "provision/install/installer.h"
#include "provision/launch.h"
#include "provision/missing_program.h"
#include "provision/uid_book.h"
#include "sys/process_name.h"

namespace mcpbox::app {
namespace {

using Clock = std::chrono::steady_clock;

// After the end of input: how long a server may go on answering what it was asked, and how long it then has to end by
// itself before SIGTERM, and before SIGKILL (stdio transport, "Shutdown"; the official SDKs wait as long).
constexpr std::chrono::seconds kAnswering{30};
constexpr std::chrono::seconds kGrace{2};

// Nothing here may throw: a client that closed our stderr still gets its server ended.
void say(std::string_view text) {
  std::fputs(fmt::format("mcpbox: {}\n", text).c_str(), stderr);
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
class Run {
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
    tasks_.spawn("signals", on_stop_signal(runtime_, [this](int) {
                   stop_ = true;
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
    if (!code && !started_) code = kRunCannotStart;
    if (!code) code = co_await serve();
    if (session_) (void)co_await session_->close();
    grant_.reset();
    if (egress_) {
      co_await egress_->stop();
      ::rmdir(egress_->directory().c_str());
    }
    co_await tasks_.stop();
    co_return *code;
  }

 private:
  int cannot_start(const Error& error) {
    progress_.done();
    say(error.message());
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
    if (!begun) {
      code = begun.error().code() == Code::kNotFound && process_missing_ ? kRunNotFound : cannot_start(begun.error());
      if (process_missing_)
        say(fmt::format("{}; {}", begun.error().message(), provision::missing_program_hint(program_, setup_.image_id)));
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

    auto setup = co_await set_up_engine(executor, options_.engine, options_.image, *ca_bundle, progress_);
    if (!setup) co_return fail(std::move(setup).error());
    engine_found_ = true;
    setup_ = std::move(*setup);

    progress_.step("planning");
    auto plan = run_plan(options_, *env, setup_.image_id, paths->state_dir);
    if (!plan) co_return fail(std::move(plan).error());
    for (const std::string& hint : plan->hints) say("hint: " + hint);
    if (!plan->refused.empty()) {
      co_return fail(Code::kPermissionDenied,
                     fmt::format("{}: {}", printable(plan->refused[0].path), plan->refused[0].reason));
    }
    const provision::UidBook book(paths->state_dir, *instance, setup_.info.kind, setup_.info.uids);
    auto drawn = book.run();
    if (!drawn) co_return fail(std::move(drawn).error());
    uids_ = std::move(drawn->hold);
    uid_ = drawn->uids.server;
    auto user = provision::user_for(*plan, uid_);
    if (!user) co_return fail(std::move(user).error());
    uid_ = user->first;

    box::SandboxOptions session;
    session.instance = *instance;
    session.init_path = *init;
    session.run_dir = paths->run_dir;
    session.ca_bundle = *ca_bundle;
    session.uids = setup_.info.uids;
    session.tools = setup_.info.tools;
    session.cache_volume = hosting::cache_volume(*instance);
    session.profile.image = setup_.image_id;
    session.profile.limits.cpus = options_.cpus;
    session.profile.limits.memory_bytes = options_.memory_mb << 20;

    session.name = "run-" + random_hex(6);
    const std::string sandbox = box::Sandbox::sandbox_name(session);
    const std::string egress_name = sandbox + ".egress";
    std::vector<std::string> names{sandbox, egress_name};
    if (plan->install) names.push_back(provision::Installer::sandbox_name(*instance, *plan->install));
    guardian_.watch(setup_.info.address, *instance, paths->run_dir, names);

    // For messages and the audit: what is run, rather than what runs it.
    const std::string name =
        plan->install && !plan->install->asked.empty() ? plan->install->asked.front() : options_.command.front();
    const bool online = network->mode != config::NetworkMode::kNone;
    if (online || (plan->install && options_.install_mode != "offline")) {
      if (auto started = start_egress(*paths, paths->run_dir + "/" + egress_name); !started) co_return started;
      session.egress_dir = egress_->directory();
    }

    provision::InstallerOptions installing;
    installing.session = session;
    installing.env = provision::install_variables();
    provision::StagePolicy policy;
    for (const workspace::Root& root : plan->roots) policy.allowed_roots.push_back(root.host);
    policy.rules.denied = denied_places(*paths, setup_.info.address);
    policy.rules.home = paths->home;
    installing.policy = policy;
    installing.egress = egress_.get();
    installing.uids = book;
    installing.state_dir = paths->state_dir;
    installing.engine = setup_.info.kind;
    installing.quota_bytes = config::BoxSettings{}.env_quota_mb << 20;
    installing.sources = {options_.install_mode == "offline", options_.wheelhouse, options_.npm_cache};
    provision::Installer installer(*setup_.engine, executor, runtime_.pool, std::move(installing));

    session.ephemeral = true;
    session.labels["io.mcpbox.kind"] = "run";
    session.labels[box::kOwnerLabel] = sys::own_process();
    session.profile.mounts = provision::mounts_for(*plan);
    progress_.step("making the sandbox");
    auto opened = co_await box::Sandbox::open(*setup_.engine, executor, std::move(session));
    if (!opened) co_return fail(std::move(opened).error());
    session_ = std::move(*opened);
    box::Supervisor& supervisor = session_->supervisor();
    supervisor.on_exit([this](const std::string&, const box::ProcessExit& how) {
      exit_ = how;
      changed_.notify();
    });
    supervisor.on_lost([this](const Error&) {
      lost_ = true;
      changed_.notify();
    });

    if (online) {
      egress::EgressClient client;
      client.process = "server";
      client.server = name;
      client.uid = uid_;
      client.token = egress::egress_token();
      client.policy = provision::run_policy(*network, provision::settings_of_user());
      auto granted = co_await egress_->grant(std::move(client));
      if (!granted) co_return fail(std::move(granted).error());
      grant_ = std::move(*granted);
    }

    provision::LaunchInputs inputs;
    inputs.server = name;
    inputs.one_id = setup_.info.one_server_per_sandbox;
    inputs.network = std::move(*network);
    if (grant_) inputs.proxy_url = grant_->proxy_url().reveal();
    inputs.process_id = "server";
    inputs.uid = uid_;
    inputs.gid = user->second;
    inputs.uids = drawn->uids;
    inputs.env = std::move(*env);
    inputs.timeout = std::chrono::seconds(options_.timeout_sec);
    inputs.policy = std::move(policy);
    inputs.plan = std::move(*plan);
    inputs.on_phase = [this](provision::Phase phase) {
      progress_.step(phase == provision::Phase::kDepInstall ? "preparing dependencies" : "staging");
    };
    inputs.on_progress = [this](std::string_view line) { progress_.detail(line); };
    auto launch = co_await provision::prepare_launch(*session_, installer, runtime_.pool, std::move(inputs));
    if (!launch) co_return fail(std::move(launch).error());
    if (launch->environment) environment_ = std::move(launch->environment->hold);
    if (options_.verbose) {
      for (const std::string& note : launch->notes) say(note);
    }
    launch->process.nice = 0;
    program_ = launch->process.argv.front();

    progress_.step("starting " + options_.command.front());
    if (options_.direct) {
      auto pid = co_await supervisor.spawn_direct(std::move(launch->process), {0, 1, 2});
      process_missing_ = !pid && pid.error().code() == Code::kNotFound;
      if (!pid) co_return fail(std::move(pid).error());
    } else {
      auto spawned = co_await supervisor.spawn(std::move(launch->process));
      process_missing_ = !spawned && spawned.error().code() == Code::kNotFound;
      if (!spawned) co_return fail(std::move(spawned).error());
      pipes_ = std::move(spawned->pipes);
    }
    progress_.done();
    tasks_.spawn("sweep", sweep(*setup_.engine, *instance));
    co_return Result<void>{};
  }

  Result<void> start_egress(const Paths& paths, std::string directory) {
    egress::EgressServiceOptions egress;
    egress.one_server_per_sandbox = setup_.info.one_server_per_sandbox;
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

  bool over() const { return exit_ || lost_; }

  // Waits until the server ended, `until` at the latest.
  Task<void> wait_over(Clock::time_point until) {
    while (!over() && Clock::now() < until) (void)co_await changed_.wait_until(until);
  }

  Task<int> serve() {
    if (options_.direct) {
      watch_input_for_direct();
    } else if (auto relaying = start_relay(); !relaying) {
      co_return cannot_start(relaying.error());
    }
    while (!over() && !stop_ && !input_ended_) co_await changed_.wait();
    if (!over()) co_await end_server();

    // Children and detached helpers keep the pipes open: with them gone, the relay sees their end.
    box::Supervisor& supervisor = session_->supervisor();
    if (!lost_) (void)co_await supervisor.kill_uid(uid_, SIGKILL);
    std::string how;
    if (exit_) {
      how = exit_->describe();
    } else {
      how = co_await session_->describe_loss();
    }
    if (relay_) {
      const auto until = Clock::now() + std::chrono::seconds(5);
      while (!relay_done_ && Clock::now() < until) (void)co_await changed_.wait_until(until);
      relay_->abandon();
      relay_thread_.join();
      relay_->fail_pending(fmt::format("the MCP server ended before it answered: {}", how));
    }
    close_direct_watch();
    if (!exit_) {
      say(fmt::format("the server is gone: {}", how));
      co_return kRunCannotStart;
    }
    const bool wanted = stop_ || input_ended_;
    if (exit_->killed_for_memory) {
      say(fmt::format("the server ended: {}; raise --memory (now {} MiB)", how, options_.memory_mb));
    } else if (!wanted && (exit_->code != 0 || exit_->signal != 0)) {
      say(fmt::format("the server ended: {}", how));
    }
    co_return exit_status(*exit_);
  }

  // End of input, or a signal: as the stdio transport prescribes.
  Task<void> end_server() {
    box::Supervisor& supervisor = session_->supervisor();
    (void)co_await supervisor.close_stdin("server");
    if (!stop_) {
      const auto until = Clock::now() + kAnswering;
      while (!over() && !stop_ && !client_gone_ && relay_ && relay_->in_flight() > 0 && Clock::now() < until) {
        (void)co_await changed_.wait_until(std::min(until, Clock::now() + std::chrono::milliseconds(50)));
      }
      const auto grace = Clock::now() + kGrace;
      while (!over() && !stop_ && Clock::now() < grace) (void)co_await changed_.wait_until(grace);
    }
    if (over()) co_return;
    (void)co_await supervisor.signal("server", SIGTERM);
    co_await wait_over(Clock::now() + kGrace);
    if (over()) co_return;
    (void)co_await supervisor.signal("server", SIGKILL);
    co_await wait_over(Clock::now() + kGrace);
  }

  Result<void> start_relay() {
    RelayEnds ends;
    auto in = nonblocking_view(0, false);
    if (!in) return fail(std::move(in).error().with_context("stdin"));
    auto out = nonblocking_view(1, true);
    if (!out) return fail(std::move(out).error().with_context("stdout"));
    auto log = nonblocking_view(2, true);
    if (!log) return fail(std::move(log).error().with_context("stderr"));
    ends.client_in = std::move(*in);
    ends.client_out = std::move(*out);
    ends.log = std::move(*log);
    ends.server_in = std::move(pipes_.in);
    ends.server_out = std::move(pipes_.out);
    ends.server_err = std::move(pipes_.err);
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
    const UniqueFd cancel_read(ends[0]);
    direct_cancel_ = UniqueFd(ends[1]);
    direct_thread_ = std::thread([this, cancel = UniqueFd(::dup(cancel_read.get()))] {
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
  std::shared_ptr<egress::EgressGrant> grant_;
  std::unique_ptr<box::Sandbox> session_;
  std::shared_ptr<provision::UidHold> uids_;
  std::shared_ptr<provision::EnvHold> environment_;
  box::ProcessPipes pipes_;
  std::unique_ptr<StdioRelay> relay_;
  std::thread relay_thread_;
  std::thread direct_thread_;
  UniqueFd direct_cancel_;
  std::optional<box::ProcessExit> exit_;
  uid_t uid_ = 0;
  bool engine_found_ = false;
  bool process_missing_ = false;
  std::string program_;  // that is started
  bool started_ = false;
  bool stop_ = false;
  bool lost_ = false;
  bool input_ended_ = false;
  bool client_gone_ = false;
  bool relay_done_ = false;
};

}  // namespace

int run_server(const RunOptions& options) {
  Guardian guardian = Guardian::start();
  const int code = run_on_loop([&](Runtime& runtime) -> Task<int> {
    Run run(runtime, options, guardian);
    co_return co_await run.run();
  });
  guardian.dismiss();
  return code;
}

}  // namespace mcpbox::app
