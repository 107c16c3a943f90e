#include "app/compose/serve.h"

#include <fmt/format.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "app/compose/config_file.h"
#include "app/compose/daemon_engine.h"
#include "app/compose/daemon_lock.h"
#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/compose/problems.h"
#include "app/compose/progress.h"
#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/complain.h"
#include "app/verbs/config_verbs.h"
#include "app/verbs/daemon_client.h"
#include "base/log.h"
#include "base/text.h"
#include "box/engines/locator.h"
#include "egress/control/service.h"
#include "gateway/answer.h"
#include "gateway/control_api.h"
#include "hosting/host.h"
#include "hosting/sandbox_backend.h"
#include "json/value.h"
#include "json/writer.h"
#include "net/http_server.h"
#include "net/offload.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/egress_policy.h"
#include "provision/stage/copies.h"
#include "provision/stage/pull.h"
#include "provision/uid_book.h"

namespace mcpbox::app {
namespace {

// Connections beyond the usual ones, so that `ps` and `down` get in whoever has these.
constexpr std::size_t kReserved = 8;

log::Level level_of(const std::string& name) {
  if (name == "debug") return log::Level::kDebug;
  if (name == "warning") return log::Level::kWarning;
  if (name == "error") return log::Level::kError;
  return log::Level::kInfo;
}

Error cannot_listen(const Error& error) {
  switch (error.code()) {
    case Code::kAlreadyExists:
      return {error.code(), error.message() + "; stop it with `mcpbox down`"};
    case Code::kInvalidArgument:
      return {error.code(), error.message() + "; set daemon.socket to a shorter one"};
    default:
      return error;
  }
}

Task<void> find_engine(boost::asio::any_io_executor executor, std::string address, std::string image,
                       std::string ca_bundle, std::string state_dir, ProgressPrinter& progress, net::Signal& changed,
                       bool& over, std::optional<Result<EngineSetup>>& out) {
  struct Notify {
    net::Signal& changed;
    bool& over;
    ~Notify() {
      over = true;
      changed.notify();
    }
  } const notify{changed, over};
  out = co_await set_up_engine(executor, std::move(address), std::move(image), std::move(ca_bundle), progress,
                               std::move(state_dir));
}

// What there is to see of the servers while the image is prepared.
std::vector<hosting::ServerView> expected_servers(const config::Settings& settings) {
  std::vector<hosting::ServerView> views;
  for (const config::ServerSettings& server : settings.servers) {
    hosting::ServerView view;
    view.name = server.name;
    view.state = server.enable ? hosting::ServerState::kPreparing : hosting::ServerState::kStopped;
    views.push_back(std::move(view));
  }
  return views;
}

// A quarter of the files that we may have open is for clients, so that servers, and who ends the daemon, have theirs.
std::size_t connections_within(std::size_t servers) {
  constexpr std::size_t kMost = 256, kFewest = 16, kOwn = 64;
  constexpr std::size_t kOfServer = 16;  // pipes, groups, memory file systems; PID 1 of a sandbox has the same limit
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return kMost;
  const std::size_t allowed = files.rlim_cur;  // run_on_loop() raised it
  const std::size_t connections = std::clamp(allowed / 4, kFewest, kMost);
  const std::size_t needed = kOwn + connections + (servers * kOfServer);
  if (needed > allowed) {
    log::warning("daemon",
                 "{} servers may need {} open files, and {} are allowed (ulimit -Hn, LimitNOFILE= of a systemd unit): "
                 "raise that, or starts may fail",
                 servers, needed, allowed);
  }
  return connections;
}

Task<int> serve_on(Runtime& runtime, const ServeOptions& options) {
  auto loaded = load_config(options.config);
  if (!loaded) {
    print_problems(loaded.error());
    co_return kUsage;
  }
  config::Settings settings = std::move(*loaded);
  log::configure(options.verbose ? log::Level::kDebug : level_of(settings.log_level),
                 settings.log_format == "json" ? log::Format::kJson : log::Format::kText);
  const auto executor = runtime.loop.get_executor();

  auto paths = make_paths(settings.daemon.state_dir, options.socket.empty() ? settings.daemon.socket : options.socket);
  if (!paths) co_return complain(paths.error(), kFailed);
  if (auto there = check_socket_folder(paths->socket); !there) co_return complain(there.error(), kUsage);
  auto instance = instance_id(paths->state_dir);
  if (!instance) co_return complain(instance.error(), kFailed);
  auto init = find_init();
  if (!init) co_return complain(init.error(), kFailed);
  auto ca_bundle = resolve_ca_bundle(settings.box.ca_bundle);
  if (!ca_bundle) co_return complain(ca_bundle.error(), kUsage);
  for (const config::Problem& warning : network_warnings(settings)) log::warning("config", "{}", warning.text());

  // The socket first: its lock keeps two daemons of one user apart.
  bool stopping = false;
  net::Signal stop(executor);
  const auto request_stop = [&] {
    stopping = true;
    stop.notify();
  };
  gateway::ControlContext context;
  context.config_file = options.config;
  context.request_shutdown = request_stop;
  context.started = std::chrono::steady_clock::now();
  context.expected = expected_servers(settings);
  net::HttpHandler control = gateway::control_handler(context);
  auto handler = [&control](net::HttpExchange& exchange) -> Task<void> {
    if (control) return control(exchange);
    return gateway::refuse(exchange, Error(Code::kUnavailable, "mcpbox is stopping"));
  };
  net::HttpServerOptions listening;
  listening.reserved = kReserved;
  listening.max_connections = connections_within(static_cast<std::size_t>(
      std::ranges::count_if(settings.servers, [](const config::ServerSettings& each) { return each.enable; })));
  auto server = net::HttpServer::listen(executor, net::UnixPlace{paths->socket}, listening, std::move(handler));
  if (!server) co_return complain(cannot_listen(server.error()), kFailed);
  // Before anybody is answered: who asks at this socket asks the one daemon of the state directory.
  auto lock = DaemonLock::take(*paths);
  if (!lock) {
    co_await (*server)->stop();
    co_return complain(lock.error(), kFailed);
  }
  (*server)->start();

  net::TaskGroup tasks(executor, "daemon");
  tasks.spawn("signals", on_stop_signal(runtime, [&](int signal) {
                log::info("daemon", "SIG{} asks it to stop", ::sigabbrev_np(signal));
                request_stop();
              }));
  (void)co_await net::offload(
      runtime.pool, [&] { return provision::forget_cut_off_pulls(provision::manifest_dir_of(paths->state_dir)); });

  int code = kOk;
  ProgressPrinter progress(options.verbose);
  std::string address = options.engine.empty() ? settings.engine.address : options.engine;
  // Building the image takes minutes; a stop that is asked for meanwhile cancels it.
  std::optional<Result<EngineSetup>> found;
  bool over = false;  // not starting.running(): what throws without waiting once still counts as running
  net::TaskGroup starting(executor, "engine");
  starting.spawn("engine", find_engine(executor, std::move(address), settings.box.image, *ca_bundle, paths->state_dir,
                                       progress, stop, over, found));
  while (!over && !stopping) co_await stop.wait();
  co_await starting.stop();
  if (!found || (stopping && !*found)) {  // a request to the engine that is cancelled may also answer so
    log::info("daemon", "stopped before the engine and the image were ready");
    co_await (*server)->stop();
    co_await tasks.stop();
    co_return stopping ? kOk : kFailed;
  }
  Result<EngineSetup>& setup = *found;
  if (!setup) {
    progress.done();
    code = complain(setup.error(), exit_code_of_engine(setup.error()));
  } else {
    log::info("engine", "{}, image {}", setup->info.summary, setup->image_reference);
    if (auto noted = note_daemon_engine(paths->state_dir, setup->info.address); !noted)
      log::warning("engine", "it is not noted, so `mcpbox down` may look at another one: {}", noted.error().message());
    for (const std::string& warning : setup->info.warnings) log::warning("engine", "{}", warning);
    hosting::SandboxBackendOptions hosting;
    hosting.instance = *instance;
    hosting.init_path = *init;
    hosting.run_dir = paths->run_dir;
    hosting.image = setup->image_id;
    hosting.ca_bundle = *ca_bundle;
    hosting.policy.allowed_roots = settings.allowed_roots;
    hosting.policy.denied = denied_places(*paths, setup->info.address);
    hosting.policy.home = paths->home;
    hosting.policy.secret_files = provision::secret_files_of(settings);
    hosting.policy.locked = settings.box.install_mode == config::InstallMode::kLocked;
    hosting.policy.state_dir = paths->state_dir;
    hosting.state_dir = paths->state_dir;
    hosting.engine = setup->info.kind;
    hosting.uids = setup->info.traits.uids;
    hosting.tools = setup->info.traits.tools;
    hosting.one_server_per_sandbox = setup->info.traits.one_server_per_sandbox;
    egress::EgressServiceOptions proxy;
    proxy.one_server_per_sandbox = setup->info.traits.one_server_per_sandbox;
    proxy.directory = daemon_egress_directory(*paths, *instance);
    proxy.audit_directory = paths->state_dir + "/egress";
    std::string note;
    proxy.network = provision::network_text(settings.egress, provision::settings_of_user(), note);
    if (!note.empty()) log::warning("egress", "{}", note);
    auto egress = egress::EgressService::start(executor, std::move(proxy));
    if (!egress) {
      code = complain(egress.error(), kFailed);
      co_await (*server)->stop();
      co_await tasks.stop();
      co_return code;
    }
    hosting.egress = egress->get();
    hosting.box = settings.box;
    hosting::SandboxBackend backend(*setup->engine, executor, runtime.pool, std::move(hosting));
    hosting::Host host(executor, runtime.pool, std::move(settings.servers), backend);
    context.engine = {setup->info.kind, setup->info.version, setup->info.api_version, setup->info.address};
    context.image_reference = setup->image_reference;
    context.host = &host;
    host.start();
    log::info("daemon", "listening on {0}; `mcpbox ps{1}` shows the servers", paths->socket,
              paths->socket == default_socket() ? "" : " --socket " + paths->socket);
    while (!stopping) co_await stop.wait();
    log::info("daemon", "stopping");
    auto stopped = co_await host.stop();
    if (!stopped) code = complain(stopped.error(), kFailed);
    co_await (*egress)->stop();
    ::rmdir((*egress)->directory().c_str());
    control = nullptr;
    co_await (*server)->stop();
  }
  co_await (*server)->stop();
  co_await tasks.stop();
  co_return code;
}

// What a killed daemon and killed runs left on one engine; with `volumes` the environments too.
Task<Result<hosting::Removed>> sweep_engine(box::LocatedEngine& located, const Paths& paths, std::string instance,
                                            bool volumes) {
  auto removed = co_await hosting::remove_everything(*located.engine, instance, volumes);
  // What is left needs its environments, the record of them, and its user ids.
  if (removed && volumes && removed->left.empty()) {
    provision::EnvLedger(paths.state_dir, located.info.kind).clear();
    provision::UidBook(paths.state_dir, instance, located.info.kind, located.info.traits.uids).clear();
  }
  co_return removed;
}

// The command with what it was given.
std::string same_again(const DownOptions& options) {
  std::string out = "mcpbox down";
  const auto add = [&](std::string_view option, const std::string& value) {
    if (!value.empty()) out += fmt::format(" {} {}", option, printable(value));
  };
  add("-c", options.config);
  add("--socket", options.socket);
  add("--engine", options.engine);
  return options.volumes ? out + " --volumes" : out;
}

// Of the servers of the daemon that is asked to end; its own log says what becomes of them.
Task<std::size_t> count_sandboxes(DaemonClient& client) {
  std::set<std::string> sandboxes;
  const auto body = co_await client.get("/v1/servers", std::chrono::seconds(10));
  const auto parsed = body ? json::Value::parse(*body) : Result<json::Value>(fail(body.error()));
  if (!parsed) co_return 0;
  for (const json::Value& server : (*parsed)["servers"].elements()) sandboxes.insert(server["sandbox"].string_or());
  sandboxes.erase("");
  co_return sandboxes.size();
}

std::string daemon_ended(std::size_t sandboxes) {
  if (sandboxes == 0) return "the daemon ended";
  return fmt::format("the daemon ended, and {} sandbox{} of its servers with it", sandboxes,
                     sandboxes == 1 ? "" : "es");
}

// For people. `ended`: a daemon was, and its sandboxes with it. `volumes`: whether this engine's were to go, if the
// command said so.
std::string describe(const std::string& kind, const hosting::Removed& removed, const DownOptions& options, bool ended,
                     bool volumes) {
  std::string kept;
  if (!options.volumes) {
    kept = "; installed dependencies and the servers' copies are kept (--volumes removes them too)";
  } else if (!volumes) {
    kept = fmt::format("; its other volumes are kept (`mcpbox down --volumes --engine {}` removes them)", kind);
  }
  std::string out = fmt::format("{}: {} {} sandbox{} and {} volume{} removed{}\n", kind, removed.sandboxes,
                                ended ? "other" : "left-over", removed.sandboxes == 1 ? "" : "es", removed.volumes,
                                removed.volumes == 1 ? "" : "s", kept);
  if (removed.left.empty()) return out;
  const std::string used =
      removed.left_volumes.empty() ? "" : fmt::format("; volumes in their use: {}", join(removed.left_volumes, ", "));
  return out + fmt::format("left, because the processes that made them still run: {}{}; end these and run `{}` again\n",
                           join(removed.left, ", "), used, same_again(options));
}

// Within seconds; also for no address.
Task<bool> answers(boost::asio::any_io_executor executor, std::string engine, const std::string& state_dir) {
  if (engine.empty() || engine == box::kHostSystemEngine) co_return true;
  auto locate = locator_options(std::move(engine), state_dir);
  if (!locate) co_return true;
  locate->docker.connect_timeout = locate->docker.call_timeout = std::chrono::seconds(3);
  co_return (co_await box::locate_engine(executor, std::move(*locate))).has_value();
}

// Until the daemon that was asked to end has removed its socket, which it does when everything is gone. With an engine
// that does not answer it tries for a minute to remove its sandboxes: whoever waits hears that at once.
Task<Result<void>> await_end(DaemonClient& client, boost::asio::any_io_executor executor, const std::string& engine,
                             const std::string& state_dir, const DownOptions& options) {
  constexpr std::chrono::seconds kSoon(2), kPatience(60), kMore(20);
  const auto began = std::chrono::steady_clock::now();
  auto until = began + kPatience;
  bool asked_engine = false, away = false;
  while (std::chrono::steady_clock::now() < until) {
    co_await net::sleep_for(std::chrono::milliseconds(50));
    auto status = co_await client.get("/v1/status", std::chrono::seconds(5));
    if (!status && client.no_daemon()) co_return Result<void>{};
    if (asked_engine || std::chrono::steady_clock::now() < began + kSoon) continue;
    asked_engine = true;
    away = !co_await answers(executor, engine, state_dir);
    if (!away) continue;
    until += kMore;  // so that the daemon's minute ends first
    print_err(
        "mcpbox: the daemon's engine does not answer at {}: its servers are ended, and the daemon tries for a minute "
        "to "
        "remove their sandboxes there. Start that engine now, or run `{}` again when it answers\n",
        printable(engine), same_again(options));
  }
  if (!away) {
    co_return fail(Code::kTimeout, "the daemon did not end within a minute; its log says what it waits for");
  }
  co_return fail(Code::kTimeout,
                 fmt::format("the daemon still waits for its engine, which does not answer at {}; start that engine or "
                             "kill the daemon, and run `{}` again",
                             printable(engine), same_again(options)));
}

Task<int> down_on(Runtime& runtime, const DownOptions& options) {
  const auto executor = runtime.loop.get_executor();
  config::Settings settings;
  if (!options.config.empty()) {
    auto loaded = load_config_place(options.config, config::Image::kLeftOut);
    if (!loaded) {
      print_problems(loaded.error());
      co_return kUsage;
    }
    settings = std::move(*loaded);
  }
  const auto first_of = [](const std::string& one, const std::string& other) { return one.empty() ? other : one; };
  const std::string socket = first_of(options.socket, first_of(settings.daemon.socket, default_socket()));
  DaemonClient client(executor, socket);
  const std::string state_dir = name_paths(settings.daemon.state_dir, socket).state_dir;
  const std::string noted = daemon_engine(state_dir);
  const std::string running = co_await running_engine(client, noted);
  const std::size_t ended_with_it = co_await count_sandboxes(client);
  auto asked = co_await client.post("/v1/shutdown", "{}", std::chrono::seconds(10));
  if (!asked && !client.no_daemon()) co_return complain(asked.error(), kFailed);
  if (asked) {
    auto ended = co_await await_end(client, executor, running, state_dir, options);
    if (!ended) co_return complain(ended.error(), kFailed);
  }

  // What a daemon that was killed left behind, and with --volumes the environments.
  auto paths = make_paths(settings.daemon.state_dir, socket);
  if (!paths) co_return complain(paths.error(), kFailed);
  auto instance = instance_id(paths->state_dir);
  if (!instance) co_return complain(instance.error(), kFailed);
  // A daemon at another socket may have what looks left over; the one that was asked to end lets go as its last act.
  auto lock = DaemonLock::take(*paths, asked ? std::chrono::seconds(10) : std::chrono::seconds(0));
  if (!lock) co_return complain(lock.error(), kFailed);
  (void)co_await net::offload(
      runtime.pool, [&] { return provision::forget_cut_off_pulls(provision::manifest_dir_of(paths->state_dir)); });

  std::vector<ChosenEngine> engines{
      choose_engine({options.engine, running, settings.engine.address, noted}, paths->state_dir)};
  if (options.engine.empty()) {
    // Runs, and daemons before the newest, may have used others.
    if (!noted.empty()) engines.push_back(noted_engine(noted, paths->state_dir));
    engines.push_back({first_of(settings.engine.address, "auto"), ""});
    if (has_native_sandboxes(paths->state_dir)) engines.push_back({std::string(box::kHostSystemEngine), ""});
  }
  std::string begin = asked ? daemon_ended(ended_with_it) + "; " : "no daemon was running; ";
  int code = kOk;
  std::set<std::string> looked_at;
  for (std::size_t i = 0; i < engines.size(); ++i) {
    const std::string& address = engines[i].address;
    if (!looked_at.insert(address).second) continue;
    auto locate = locator_options(address, paths->state_dir);
    if (!locate) co_return complain(locate.error(), kFailed);
    locate->named_by = engines[i].named_by;
    auto located = co_await box::locate_engine(executor, std::move(*locate));
    const bool main = i == 0;
    if (!located) {
      if (!main && address != noted) continue;
      code = complain(located.error(), exit_code_of_engine(located.error()));
      if (located.error().code() == Code::kUnavailable)
        print_err("mcpbox: what mcpbox has on that engine is left; run `{}` again when it answers\n",
                  same_again(options));
      continue;
    }
    // "auto" led to one of the others.
    if (located->info.address != address && !looked_at.insert(located->info.address).second) continue;
    auto swept = co_await sweep_engine(*located, *paths, *instance, options.volumes && main);
    if (!swept) co_return complain(swept.error(), kFailed);
    if (main || swept->sandboxes + swept->volumes > 0 || !swept->left.empty())
      print_out("{}{}", std::exchange(begin, ""),
                describe(located->info.kind, *swept, options, asked.has_value(), main));
  }
  if (asked && !begin.empty()) print_out("{}\n", daemon_ended(ended_with_it));
  remove_stale_files(*paths, *instance);
  co_return code;
}

}  // namespace

int serve(const ServeOptions& options) {
  return run_on_loop([&](Runtime& runtime) { return serve_on(runtime, options); });
}

int down(const DownOptions& options) {
  return run_on_loop([&](Runtime& runtime) { return down_on(runtime, options); });
}

}  // namespace mcpbox::app
