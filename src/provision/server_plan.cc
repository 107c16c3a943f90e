#include "provision/server_plan.h"

#include "provision/install/env_ledger.h"
#include "provision/launch.h"
#include "workspace/host_view.h"

namespace mcpbox::provision {
namespace {

workspace::Access access_of(config::Access access) {
  return access == config::Access::kReadWrite ? workspace::Access::kReadWrite : workspace::Access::kReadOnly;
}

}  // namespace

std::vector<Secret> secrets_of(const config::ServerSettings& settings) {
  std::vector<Secret> secrets = settings.secrets;
  for (const auto* values : {&settings.env, &settings.box.env}) {
    for (const auto& [name, value] : *values) {
      if (value.secret) secrets.push_back(value.text);
    }
  }
  return secrets;
}

Redactor redactor_for(const config::ServerSettings& settings, const Secret& more) {
  Redactor redact;
  if (!more.empty()) redact.add(more);
  for (const Secret& secret : secrets_of(settings)) redact.add(secret);
  return redact;
}

StagePolicy PlanPolicy::staging() const {
  StagePolicy policy;
  policy.allowed_roots = allowed_roots;
  policy.rules.denied = denied;
  policy.rules.home = home;
  policy.rules.secret_files = secret_files;
  return policy;
}

std::vector<std::string> secret_files_of(const config::Settings& settings) {
  std::vector<std::string> files = settings.secret_files;
  if (auto own = workspace::canonical(settings.file)) files.push_back(std::move(*own));
  return files;
}

Result<workspace::Plan> plan_server(const config::ServerSettings& settings, const InstanceId& id,
                                    const PlanPolicy& host, const std::string& image_id) {
  workspace::LaunchSpec spec;
  spec.name = settings.name;
  spec.command = settings.command;
  spec.args = settings.args;
  for (const auto* values : {&settings.box.env, &settings.env}) {
    for (const auto& [name, value] : *values) spec.env[name] = std::string(value.text.reveal());
  }
  spec.cwd = settings.cwd;
  spec.host_path = settings.box.host_path;
  spec.host_path_mode = access_of(settings.box.host_path_mode);
  for (const config::MountSettings& mount : settings.box.mounts)
    spec.mounts.push_back({mount.host, access_of(mount.access)});

  workspace::Policy policy;
  policy.allowed_roots = host.allowed_roots;
  policy.denied = host.denied;
  policy.secret_files = host.secret_files;
  policy.workspace = process_tree(process_id(id)) + "/workspace";
  policy.image_id = image_id;
  policy.platform = workspace::platform_of(image_id);
  policy.origin = host.origin;
  if (const auto minor = workspace::python_minor_of(image_id)) policy.python_minor = *minor;
  policy.home = host.home;
  policy.locked = host.locked;
  policy.refreshed = EnvLedger(host.state_dir).refreshed();
  return workspace::make_plan(spec, policy);
}

}  // namespace mcpbox::provision
