#include "provision/server_start.h"

#include <fmt/format.h>

#include <utility>

#include "net/offload.h"
#include "provision/launch.h"

namespace mcpbox::provision {
namespace {

box::SandboxOptions sandbox_of(const ServerHost& host, const config::ServerSettings& settings, const InstanceId& id,
                               const workspace::Plan& plan, std::string image) {
  box::SandboxOptions options = host.sandbox;
  box::SandboxProfile& profile = options.profile;
  profile.image = std::move(image);
  if (settings.box.read_only_rootfs) profile.read_only_root = *settings.box.read_only_rootfs;
  profile.mounts = mounts_for(plan);
  const bool dedicated = host.one_server_per_sandbox || !why_alone(settings.box, plan).empty();
  // What a server names is a share of a sandbox that it shares, and the size of its own.
  if (dedicated) {
    if (settings.box.cpus) profile.limits.cpus = *settings.box.cpus;
    if (settings.box.memory_mb) profile.limits.memory_bytes = box::sandbox_memory(*settings.box.memory_mb << 20);
    if (settings.box.pids_limit) profile.limits.processes = box::with_own_processes(*settings.box.pids_limit);
  }
  options.name = dedicated ? sandbox_id(id) : fmt::format("shared-{}", profile.hash().substr(0, 8));
  options.alone = dedicated;
  options.workspace_volume = box::Sandbox::sandbox_name(options).append(kWorkspaceSuffix);
  return options;
}

}  // namespace

std::string why_alone(const config::ServerBoxSettings& box, const workspace::Plan& plan) {
  if (!mounts_for(plan).empty()) return "folders of this host are mounted in it";
  return box.isolation == config::Isolation::kDedicated ? "the configuration says so" : "";
}

box::ServerLimits limits_of(const config::Limits& all, const config::ServerBoxSettings& own, bool shared) {
  // So much less than all that one who takes what it can get passes its limit before it uses up the sandbox's: then the
  // kernel would choose whom to end.
  const auto share = [&](std::uint64_t whole) { return shared ? whole - whole / 4 : whole; };
  box::ServerLimits limits;
  limits.memory_bytes = own.memory_mb ? *own.memory_mb << 20 : share(all.memory_mb << 20);
  limits.memory_of_all = shared || !own.memory_mb ? all.memory_mb << 20 : limits.memory_bytes;
  limits.memory_named = own.memory_mb.has_value();
  limits.processes = own.pids_limit.value_or(share(all.pids));
  limits.cpus = own.cpus.value_or(0);
  limits.disk_bytes = own.disk_mb.value_or(all.disk_mb) << 20;
  limits.files = own.max_files.value_or(all.max_files);
  return limits;
}

Task<Result<SandboxedStart>> start_of(const ServerHost& host, config::ServerSettings settings, InstanceId id) {
  std::string image = host.image;
  if (settings.box.image) {
    auto found = co_await host.engine.image(*settings.box.image);
    if (!found) {
      co_return fail(std::move(found).error().with_context(
          fmt::format("image '{}'; pull it with `mcpbox image pull {}`", *settings.box.image, *settings.box.image)));
    }
    image = found->id;
  }
  SandboxedStart start;
  start.server = settings.name;
  start.process_id = process_id(id);
  struct Planned {
    workspace::Plan plan;
    ServerUids uids;
  };
  auto work = [settings, id, policy = host.policy, book = host.uids, image]() -> Result<Planned> {
    auto plan = plan_server(settings, id, policy, image);
    if (!plan) return fail(std::move(plan).error());
    auto uids = book.server(name_of(id));
    if (!uids) return fail(std::move(uids).error());
    return Planned{std::move(*plan), *uids};
  };
  auto planned = co_await net::offload(host.pool, std::move(work));
  if (!planned) co_return fail(std::move(planned).error());
  start.plan = std::move(planned->plan);
  start.uids = planned->uids;
  start.sandbox = sandbox_of(host, settings, id, start.plan, std::move(image));
  start.secrets = secrets_of(settings);
  start.network = std::move(settings.box.network);
  start.ports = std::move(settings.box.ports);
  for (const auto* values : {&settings.box.env, &settings.env}) {
    for (const auto& [name, value] : *values) start.env[name] = value.text;
  }
  start.policy = host.policy.staging();
  start.limits = limits_of(host.limits, settings.box, !start.sandbox.alone);
  start.timeout = settings.box.startup_timeout;
  start.accept_degraded = std::move(settings.box.accept_degraded);
  co_return start;
}

}  // namespace mcpbox::provision
