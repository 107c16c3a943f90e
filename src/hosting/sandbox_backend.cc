#include "hosting/sandbox_backend.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "hosting/server_modes.h"
#include "provision/egress_policy.h"
#include "provision/instance_id.h"
#include "provision/server_plan.h"
#include "provision/stage/copies.h"
#include "sys/process_name.h"

namespace mcpbox::hosting {
namespace {

box::SandboxOptions sandbox_defaults(const SandboxBackendOptions& options) {
  box::SandboxOptions sandbox;
  sandbox.instance = options.instance;
  sandbox.init_path = options.init_path;
  sandbox.run_dir = options.run_dir;
  sandbox.ca_bundle = options.ca_bundle;
  sandbox.uids = options.uids;
  sandbox.tools = options.tools;
  if (options.egress != nullptr) sandbox.egress_dir = options.egress->directory();
  sandbox.cache_volume = cache_volume(options.instance);
  sandbox.profile.image = options.image;
  const config::Limits& limits = options.box.limits;
  sandbox.profile.limits.cpus = limits.cpus;
  sandbox.profile.limits.memory_bytes = box::sandbox_memory(limits.memory_mb << 20);
  sandbox.profile.limits.processes = box::with_own_processes(limits.pids);
  return sandbox;
}

provision::InstallerOptions installer_options(const SandboxBackendOptions& options) {
  provision::InstallerOptions installer;
  installer.sandbox = sandbox_defaults(options);
  std::map<std::string, Secret> own;
  for (const auto& [name, value] : options.box.install_env) {
    own[name] = value.text;
    if (value.secret) installer.redact.add(value.text);
  }
  installer.env = provision::install_variables(std::move(own));
  installer.egress = options.egress;
  installer.policy = options.policy.staging();
  installer.uids = provision::UidBook(options.state_dir, options.instance, options.engine, options.uids);
  installer.state_dir = options.state_dir;
  installer.engine = options.engine;
  installer.quota_bytes = options.box.env_quota_mb << 20;
  installer.sources = {options.box.install_mode == config::InstallMode::kOffline, options.box.wheelhouse,
                       options.box.npm_cache};
  return installer;
}

provision::PlanPolicy plan_policy(const SandboxBackendOptions& options, const provision::Installer& installer) {
  provision::PlanPolicy policy = options.policy;
  policy.origin = installer.origin();
  return policy;
}

}  // namespace

std::string cache_volume(const std::string& instance) {
  return box::name_prefix(instance) + "cache";
}

SandboxBackend::SandboxBackend(box::Engine& engine, boost::asio::any_io_executor executor,
                               boost::asio::thread_pool& pool, SandboxBackendOptions options)
    : tasks_(executor, "sandboxes"),
      sandboxes_(engine, executor, options.box.sandbox_idle,
                 [this](std::shared_ptr<provision::SharedSandbox> sandbox) {
                   tasks_.spawn("loss", tell_loss(std::move(sandbox)));
                 }),
      installer_(engine, executor, pool, installer_options(options)),
      context_{
          executor,
          {engine, pool, installer_.uids(), sandbox_defaults(options), options.image, plan_policy(options, installer_),
           options.box.limits, options.one_server_per_sandbox},
          provision::SandboxedConnector({executor, pool, sandboxes_, installer_, options.egress,
                                         options.state_dir.empty() ? "" : provision::manifest_dir_of(options.state_dir),
                                         options.one_server_per_sandbox})} {}

void SandboxBackend::start() {
  sandboxes_.sweep(context_.host.sandbox.instance);
}

ServerParts SandboxBackend::make(const config::ServerSettings& settings) {
  return server_mode(settings.mode).make(context_, settings);
}

Task<void> SandboxBackend::tell_loss(std::shared_ptr<provision::SharedSandbox> sandbox) {
  const std::string how = co_await sandbox->sandbox().describe_loss();
  log::error(sandbox->sandbox().options().name, "{}", how);
  co_await sandbox->bury(how);
}

Task<Result<void>> SandboxBackend::close() {
  co_await tasks_.join();
  co_return co_await sandboxes_.close_all();
}

Task<Result<Removed>> remove_everything(box::Engine& engine, const std::string& instance, bool volumes) {
  Removed removed;
  auto sandboxes = co_await engine.list(box::instance_labels(instance));
  if (!sandboxes) co_return fail(std::move(sandboxes).error());
  for (const box::SandboxState& sandbox : *sandboxes) {
    const auto owner = sandbox.labels.find(box::kOwnerLabel);
    if (owner != sandbox.labels.end() && sys::process_is_alive(owner->second)) {
      removed.left.push_back(fmt::format("{} (process {})", printable(sandbox.name), sys::pid_of(owner->second)));
      continue;
    }
    auto gone = co_await engine.remove(sandbox.id);
    if (!gone) co_return fail(std::move(gone).error().with_context(fmt::format("sandbox {}", sandbox.name)));
    ++removed.sandboxes;
  }
  auto found = co_await engine.list_volumes(box::instance_labels(instance));
  if (!found) co_return fail(std::move(found).error());
  for (const std::string& volume : *found) {
    if (!volumes && (volume == cache_volume(instance) || volume.ends_with(provision::kWorkspaceSuffix))) continue;
    // Runs and installations have the cache. An engine may take a while to say that it is in use.
    if (!removed.left.empty() && volume == cache_volume(instance)) {
      removed.left_volumes.push_back(volume);
      continue;
    }
    auto gone = co_await engine.remove_volume(volume);
    if (!gone && !removed.left.empty() && gone.error().code() == Code::kFailedPrecondition) {
      removed.left_volumes.push_back(volume);
      continue;
    }
    if (!gone) co_return fail(std::move(gone).error().with_context(fmt::format("volume {}", volume)));
    ++removed.volumes;
  }
  co_return removed;
}

}  // namespace mcpbox::hosting
