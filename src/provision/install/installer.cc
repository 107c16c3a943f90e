#include "provision/install/installer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "net/offload.h"
#include "provision/egress_policy.h"
#include "provision/install/env_shelf.h"
#include "provision/install/install_origin.h"
#include "provision/install/install_run.h"
#include "sys/process_name.h"
#include "workspace/host_view.h"

namespace mcpbox::provision {
namespace {

using Clock = std::chrono::steady_clock;

std::string install_name(const workspace::InstallPlan& plan) {
  return fmt::format("install-{}", plan.hash.substr(0, 16));
}

// What is bound must be what was found here, also when a server can exchange folders above it.
Result<box::Mount> offline_mount(const std::string& host, const char* target) {
  std::string path = workspace::canonical(host).value_or(host);
  auto reached = sys::reach_directory(path);
  if (!reached) return fail(std::move(reached).error().with_context("what is installed from without a network"));
  return box::Mount{box::Mount::Kind::kBind, std::move(path), target, true, 0, 0755, reached->chain.front()};
}

}  // namespace

Installer::Installer(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                     InstallerOptions options)
    : engine_(engine),
      executor_(executor),
      pool_(pool),
      options_(std::move(options)),
      ledger_(options_.state_dir, options_.engine),
      finished_(executor) {}

std::vector<std::string> Installer::origin() const {
  return install_origin(options_.env, options_.sources);
}

Task<Result<InstalledEnvironment>> Installer::ensure(box::Supervisor& reader, InstallRequest request) {
  const workspace::InstallPlan& plan = *request.plan.install;
  auto held = co_await hold(request);
  if (!held) co_return fail(std::move(held).error());
  // Single flight within this process; across processes the sandbox's name is the lock (install()).
  do {
    while (running_.contains(plan.hash)) co_await finished_.wait();
    auto found = co_await read_complete(reader, plan);
    if (found) found->hold = *held;
    if (found || found.error().code() != Code::kNotFound) co_return found;
  } while (running_.contains(plan.hash));  // another one began while this one looked

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
  if (made) made->hold = *held;
  co_return made;
}

Task<Result<std::shared_ptr<EnvHold>>> Installer::hold(const InstallRequest& request) {
  const Clock::time_point deadline = Clock::now() + request.timeout;
  auto look = [ledger = ledger_, plan = *request.plan.install, subject = request.subject] {
    auto held = ledger.hold(plan.hash);
    if (held) ledger.note_use(plan.hash, plan.asked_hash, subject);
    return held;
  };
  for (;;) {
    auto held = co_await net::offload(pool_, look);
    if (held || held.error().code() != Code::kAborted) co_return held;
    if (Clock::now() >= deadline) co_return fail(Error(Code::kTimeout, held.error().message()));
    co_await net::sleep_for(std::chrono::milliseconds(100));
  }
}

Task<Result<InstalledEnvironment>> Installer::read_complete(box::Supervisor& reader,
                                                            const workspace::InstallPlan& plan) {
  auto text = co_await reader.read_file(tree_of(plan) + "/complete", kEnvRecordLimit);
  if (!text) co_return fail(std::move(text).error());
  auto record = parse_env_record(plan.hash, *text);
  if (!record) co_return fail(std::move(record).error());
  InstalledEnvironment environment;
  environment.record = std::move(*record);
  environment.from_cache = true;
  co_return environment;
}

std::string Installer::sandbox_name(const std::string& instance, const workspace::InstallPlan& plan) {
  box::SandboxOptions options;
  options.instance = instance;
  options.name = install_name(plan);
  return box::Sandbox::sandbox_name(options);
}

Task<bool> Installer::remove_abandoned(const box::SandboxOptions& options) {
  box::Labels labels = box::instance_labels(options.instance);
  labels["io.mcpbox.session"] = options.name;
  auto found = co_await engine_.list(std::move(labels));
  if (!found) co_return false;
  for (const box::SandboxState& sandbox : *found) {
    const auto owner = sandbox.labels.find(box::kOwnerLabel);
    if (sandbox.running || owner == sandbox.labels.end() || sys::process_is_alive(owner->second)) continue;
    auto removed = co_await engine_.remove(sandbox.id);
    co_return removed.has_value();
  }
  co_return false;
}

Task<Result<void>> Installer::install(const InstallRequest& request) {
  const workspace::InstallPlan& plan = *request.plan.install;
  const Clock::time_point deadline = Clock::now() + request.timeout;
  const OfflineSources& sources = options_.sources;
  if (sources.offline && (plan.manager == "uv" ? sources.wheelhouse : sources.npm_cache).empty()) {
    co_return fail(
        Code::kFailedPrecondition,
        fmt::format("{0} is offline and what '{1}' needs ({2}) is not installed yet: start it once with {0} open, "
                    "or set {3} to {4}",
                    setting_name("box.install_mode", "--install-mode"), printable(request.subject, 100),
                    printable(join(plan.asked, ", "), 300),
                    plan.manager == "uv" ? setting_name("box.wheelhouse", "--wheelhouse")
                                         : setting_name("box.npm_cache", "--npm-cache"),
                    plan.manager == "uv" ? "a folder of wheels" : "an npm cache"));
  }

  box::SandboxOptions options = options_.sandbox;
  options.name = install_name(plan);
  if (sources.offline) options.egress_dir.clear();
  options.profile.mounts.clear();
  if (sources.offline) {
    for (const auto& [host, target] :
         {std::pair(sources.wheelhouse, kWheelhouseMount), std::pair(sources.npm_cache, kNpmCacheMount)}) {
      if (host.empty()) continue;
      auto mount = offline_mount(host, target);
      if (!mount) co_return fail(std::move(mount).error());
      options.profile.mounts.push_back(std::move(*mount));
    }
  }
  options.cache_writable = true;
  options.workspace_volume.clear();
  options.ephemeral = true;
  options.labels["io.mcpbox.kind"] = "install";
  // The server that it is for may have more than others.
  box::SandboxLimits& size = options.profile.limits;
  size.memory_bytes = std::max(size.memory_bytes, box::sandbox_memory(request.limits.memory_bytes));
  size.processes = std::max(size.processes, box::with_own_processes(request.limits.processes));
  std::unique_ptr<box::Sandbox> sandbox;
  bool waited = false;
  for (;;) {
    auto opened = co_await box::Sandbox::open(engine_, options);
    if (opened) {
      sandbox = std::move(*opened);
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
    auto done = co_await read_complete(sandbox->supervisor(), plan);
    if (!done) outcome = co_await run_in(*sandbox, request, deadline);
  } else {
    outcome = co_await run_in(*sandbox, request, deadline);
  }
  (void)co_await sandbox->close();
  co_return outcome;
}

Task<Result<void>> Installer::run_in(box::Sandbox& sandbox, const InstallRequest& request, Clock::time_point deadline) {
  Result<void> outcome;
  {
    const workspace::InstallPlan& plan = *request.plan.install;
    auto look_up = [book = options_.uids, hash = plan.hash] { return book.environment(hash); };
    auto uid = co_await net::offload(pool_, std::move(look_up));
    if (!uid) co_return fail(std::move(uid).error());
    Secret token = egress::egress_token();
    std::shared_ptr<egress::EgressGrant> grant;
    if (options_.egress != nullptr && !options_.sources.offline) {
      egress::EgressClient client;
      client.process = egress::install_process(plan.hash);
      client.server = request.subject;
      client.uid = *uid;
      client.sandbox = sandbox.state().name;
      client.phase = egress::Phase::kInstall;
      client.token = token;
      auto read = [network = request.network, manager = plan.manager, env = options_.env] {
        return install_policy(network, manager, settings_of_user(env));
      };
      auto policy = co_await net::offload(pool_, std::move(read));
      if (!policy) co_return fail(std::move(policy).error());
      client.policy = std::move(*policy);
      auto granted = co_await options_.egress->grant(std::move(client));
      if (!granted) co_return fail(std::move(granted).error());
      grant = std::move(*granted);
    }
    InstallRun run(
        executor_, pool_, options_, ledger_, sandbox, request, *uid, deadline,
        {grant ? grant->proxy_url() : Secret(), std::move(token), grant ? options_.egress->audit_directory() : ""});
    outcome = co_await run.run();
    if (!outcome && run.left_nothing()) {
      auto forget = [book = options_.uids, hash = plan.hash] { return book.forget_environment(hash); };
      (void)co_await net::offload(pool_, std::move(forget));
    }
  }
  if (!outcome) co_return outcome;
  auto removed = co_await EnvShelf(pool_, sandbox.supervisor(), ledger_, options_.uids)
                     .enforce_quota(options_.quota_bytes, request.plan.install->hash);
  // What was installed is there all the same.
  if (!removed) {
    const std::string said = fmt::format(
        "the installed environments were not brought below the quota of {}: {}; `mcpbox env list` shows them",
        human_bytes(options_.quota_bytes), removed.error().message());
    log::warning(request.subject, "{}", said);
    if (request.progress) request.progress(said);
  }
  if (removed && !removed->hashes.empty() && request.progress) {
    request.progress(fmt::format("removed {} environments that were not used for longest ({}), because of the quota",
                                 removed->hashes.size(), human_bytes(removed->bytes)));
  }
  co_return outcome;
}

}  // namespace mcpbox::provision
