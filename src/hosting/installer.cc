#include "hosting/installer.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "hosting/environment.h"
#include "hosting/identity.h"
#include "hosting/missing_program.h"
#include "hosting/owner.h"
#include "hosting/process_io.h"
#include "hosting/server_log.h"
#include "hosting/stager.h"
#include "net/task_group.h"

namespace mcpbox::hosting {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kManifestLimit = 64u << 10;
constexpr std::size_t kPackageJsonLimit = 1u << 20;

// "<cache>/<hash>": the directory above the environment.
std::string tree_of(const workspace::InstallPlan& plan) { return plan.environment.substr(0, plan.environment.rfind('/')); }

std::string session_name(const workspace::InstallPlan& plan) { return fmt::format("install-{}", plan.hash.substr(0, 16)); }

}  // namespace

Installer::Installer(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                     InstallerOptions options)
    : engine_(engine), executor_(executor), pool_(pool), options_(std::move(options)), finished_(executor) {}

Task<Result<InstalledEnvironment>> Installer::ensure(box::Supervisor& reader, InstallRequest request) {
  const workspace::InstallPlan& plan = *request.plan.install;
  // Single flight within this process; across processes the sandbox's name is the lock (install()).
  while (running_.contains(plan.hash)) co_await finished_.wait();

  auto found = co_await read_complete(reader, plan);
  if (found || found.error().code() != Code::kNotFound) co_return found;

  struct Flight {
    Installer& self;
    std::string hash;
    ~Flight() {
      self.running_.erase(hash);
      self.finished_.notify();
    }
  };
  running_.emplace(plan.hash, 1);
  const Flight flight{*this, plan.hash};
  auto installed = co_await install(request);
  if (!installed) co_return fail(std::move(installed).error());
  auto made = co_await read_complete(reader, plan);
  if (made) made->from_cache = false;
  co_return made;
}

Task<Result<InstalledEnvironment>> Installer::read_complete(box::Supervisor& reader, const workspace::InstallPlan& plan) {
  auto text = co_await reader.read_file(tree_of(plan) + "/complete", kManifestLimit);
  if (!text) co_return fail(std::move(text).error());
  const Json manifest = Json::parse(*text, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("program") || !manifest["program"].is_string()) {
    co_return fail(Code::kDataLoss, fmt::format("the record of environment {} cannot be read; remove it with `mcpbox down --volumes`",
                                                plan.hash));
  }
  co_return InstalledEnvironment{manifest["program"].get<std::string>(), true};
}

std::string Installer::sandbox_name(const std::string& instance, const workspace::InstallPlan& plan) {
  box::SessionOptions options;
  options.instance = instance;
  options.name = session_name(plan);
  return box::Session::sandbox_name(options);
}

Task<bool> Installer::remove_abandoned(const box::SessionOptions& options) {
  box::Labels labels = box::instance_labels(options.instance);
  labels["io.mcpbox.session"] = options.name;
  auto found = co_await engine_.list(std::move(labels));
  if (!found) co_return false;
  for (const box::SandboxState& sandbox : *found) {
    const auto owner = sandbox.labels.find(kOwnerLabel);
    if (sandbox.running || owner == sandbox.labels.end() || process_is_alive(owner->second)) continue;
    auto removed = co_await engine_.remove(sandbox.id);
    co_return removed.has_value();
  }
  co_return false;
}

Task<Result<void>> Installer::install(const InstallRequest& request) {
  const workspace::InstallPlan& plan = *request.plan.install;
  const Clock::time_point deadline = Clock::now() + request.timeout;

  box::SessionOptions options = options_.session;
  options.name = session_name(plan);
  options.profile.network = box::NetworkMode::kBridge;
  options.profile.mounts.clear();
  options.cache_writable = true;
  options.workspace_volume.clear();
  options.ephemeral = true;
  options.labels["io.mcpbox.kind"] = "install";
  options.labels[kOwnerLabel] = own_process();
  std::unique_ptr<box::Session> session;
  bool waited = false;
  for (;;) {
    auto opened = co_await box::Session::open(engine_, executor_, options);
    if (opened) {
      session = std::move(*opened);
      break;
    }
    if (opened.error().code() != Code::kAlreadyExists) co_return fail(std::move(opened).error());
    if (co_await remove_abandoned(options)) continue;
    if (!waited && request.progress) request.progress("another mcpbox installs the same environment; waiting for it");
    waited = true;
    if (Clock::now() >= deadline) {
      co_return fail(Code::kTimeout, "another mcpbox process installs the same environment and does not finish");
    }
    co_await net::sleep_for(std::chrono::milliseconds(500));
  }
  Result<void> outcome;
  if (waited) {
    // The other one may have finished it.
    auto done = co_await read_complete(session->supervisor(), plan);
    if (!done) outcome = co_await run_steps(*session, request, deadline);
  } else {
    outcome = co_await run_steps(*session, request, deadline);
  }
  (void)co_await session->close();
  co_return outcome;
}

Task<Result<void>> Installer::run_steps(box::Session& session, const InstallRequest& request, Clock::time_point deadline) {
  const workspace::InstallPlan& plan = *request.plan.install;
  box::Supervisor& supervisor = session.supervisor();
  const std::string tree = tree_of(plan);
  const uid_t uid = installer_uid(plan.hash, session.options().uids);

  // What an interrupted installation left cannot be told from what it finished.
  if (auto removed = co_await supervisor.remove_tree(tree, uid); !removed) co_return removed;
  std::vector<std::string> children{"env", "home", "tmp"};
  if (auto made = co_await supervisor.make_tree(tree, uid, uid, std::move(children)); !made) co_return made;

  const std::vector<std::string> read_write{tree + "/env", tree + "/home", tree + "/tmp"};
  if (!plan.inputs.empty() || !plan.sources.empty()) {
    StageTarget target;
    target.uid = uid;
    target.gid = uid;
    auto staged = co_await stage_install_inputs(pool_, supervisor, plan, tree, options_.policy, target);
    if (!staged) co_return fail(std::move(staged).error().with_context("bringing in what the installation needs"));
  }

  net::Signal exited(executor_);
  std::optional<box::ProcessExit> exit;
  std::optional<Error> lost;
  supervisor.on_exit([&](const std::string&, const box::ProcessExit& how) {
    exit = how;
    exited.notify();
  });
  supervisor.on_lost([&](const Error& error) {
    lost = error;
    exited.notify();
  });

  Result<void> outcome;
  unsigned number = 0;
  for (const workspace::InstallStep& step : plan.steps) {
    ++number;
    if (request.progress) request.progress(step.title);
    EnvironmentInputs inputs;
    inputs.tree = tree;
    inputs.ca_bundle = !session.options().ca_bundle.empty();
    inputs.own = options_.env;
    for (const auto& [name, value] : step.env) inputs.own[name] = value;
    box::ProcessSpec spec;
    spec.id = fmt::format("install-{}", number);
    spec.argv = step.argv;
    spec.env = make_environment(inputs);
    spec.cwd = step.cwd.empty() ? tree + "/home" : step.cwd;
    spec.uid = uid;
    spec.gid = uid;
    spec.nice = 10;
    spec.limits.processes = 512;
    spec.limits.file_bytes = 2ull << 30;
    spec.confine.read_write = read_write;
    if (inputs.ca_bundle) spec.confine.read_only.emplace_back(box::kCaBundleMount);
    spec.confine.any_network = true;

    exit.reset();
    auto spawned = co_await supervisor.spawn(std::move(spec));
    if (!spawned) {
      Error error = std::move(spawned).error();
      if (error.code() == Code::kNotFound) {
        error = Error(Code::kFailedPrecondition,
                      fmt::format("{}; {}", error.message(), missing_program_hint(step.argv.front(), session.options().profile.image)));
      }
      outcome = fail(std::move(error).with_context(step.title));
      break;
    }
    const auto output = std::make_shared<ServerLog>(executor_, Redactor{});
    net::TaskGroup readers(executor_, "install");
    auto sink = [output, progress = request.progress](std::string_view bytes) {
      const std::uint64_t before = output->last_sequence();
      output->stderr_bytes(bytes);
      if (!progress) return;
      for (const LogLine& line : output->since(before)) progress("  " + printable(line.text, 300));
    };
    readers.spawn("stdout", read_all(executor_, std::move(spawned->pipes.out), sink));
    readers.spawn("stderr", read_all(executor_, std::move(spawned->pipes.err), sink));
    spawned->pipes.in.reset();
    (void)co_await supervisor.close_stdin(fmt::format("install-{}", number));
    while (!exit && !lost && Clock::now() < deadline) (void)co_await exited.wait_until(deadline);
    const bool timed_out = !exit && !lost;
    if (!lost) (void)co_await supervisor.kill_uid(uid, SIGKILL);  // also what the step left running
    if (!lost) (void)co_await supervisor.forget(fmt::format("install-{}", number));
    co_await readers.join();
    output->stderr_end();

    const std::string tail = output->tail(0, 10);
    if (lost) {
      outcome = fail(Code::kUnavailable, fmt::format("{}: {}", step.title, co_await session.describe_loss()));
    } else if (timed_out) {
      outcome = fail(Code::kTimeout,
                     fmt::format("{}: not done within {}; raise box.startup_timeout_sec. Last output:\n{}", step.title,
                                 human_milliseconds(static_cast<double>(request.timeout.count()) * 1000), tail));
    } else if (exit->code != 0) {
      const std::string hint = exit->killed_for_memory ? "it ran out of memory; raise box.limits.memory_mb" : install_hint(output->tail(0, 200));
      outcome = fail(Code::kFailedPrecondition, fmt::format("{}: {}{}{}\n{}", step.title, exit->describe(), hint.empty() ? "" : "; ",
                                                            hint, tail));
    }
    if (!outcome) break;
  }
  supervisor.on_exit({});
  supervisor.on_lost({});
  if (!outcome) {
    (void)co_await supervisor.remove_tree(tree, uid);
    co_return outcome;
  }

  std::string program;
  if (plan.program.kind == workspace::Program::Kind::kNpmBin) {
    const std::string package = fmt::format("{}/node_modules/{}", plan.environment, plan.program.package);
    auto text = co_await supervisor.read_file(package + "/package.json", kPackageJsonLimit);
    if (!text) co_return fail(std::move(text).error().with_context(fmt::format("package '{}'", plan.program.package)));
    auto bin = workspace::resolve_npm_bin(plan.program, *text);
    if (!bin) co_return fail(std::move(bin).error());
    program = fmt::format("{}/{}", package, *bin);
  }
  if (auto sealed = co_await supervisor.seal(plan.environment, uid); !sealed) co_return sealed;
  for (const char* scratch : {"/home", "/tmp"}) (void)co_await supervisor.remove_tree(tree + scratch, uid);
  Json manifest;
  manifest["program"] = program;
  manifest["manager"] = plan.manager;
  manifest["server"] = request.subject;
  std::vector<std::string> titles;
  for (const workspace::InstallStep& step : plan.steps) titles.push_back(step.title);
  manifest["steps"] = titles;
  co_return co_await supervisor.write_file(tree + "/complete", manifest.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace mcpbox::hosting
