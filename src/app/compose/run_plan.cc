#include "app/compose/run_plan.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "app/compose/engine_setup.h"
#include "app/compose/explained.h"
#include "app/compose/paths.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "base/errno_error.h"
#include "base/root_fs.h"
#include "base/secrets.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "box/engines/locator.h"
#include "config/keys.h"
#include "config/ports.h"
#include "egress/rules/closed_rules.h"
#include "egress/rules/policy.h"
#include "provision/egress_policy.h"
#include "provision/environment.h"
#include "provision/install/env_ledger.h"
#include "provision/install/install_origin.h"
#include "provision/launch.h"
#include "workspace/host_view.h"

namespace mcpbox::app {
namespace {

void add_closed_rules(std::string_view option, const std::vector<std::string>& rules,
                      const std::vector<std::string>& allow_private, workspace::Plan& plan) {
  for (const egress::ClosedRule& closed : egress::closed_rules(rules, allow_private))
    plan.hints.push_back(fmt::format("{} {} lets nothing through: {}", option, closed.rule, closed.why));
}

// The folder as it is named on the command line, without links: it appears in the sandbox under this path.
Result<std::string> real_folder(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return fail(errno_error(errno, fmt::format("{}", printable(path))));
  std::string found(real);
  ::free(real);
  return found;
}

}  // namespace

Result<void> resolve_rootfs(RunOptions& options) {
  if (options.rootfs.empty()) return {};
  auto real = real_folder(options.rootfs);
  struct stat status{};
  if (real && ::stat(real->c_str(), &status) == 0 && !S_ISDIR(status.st_mode))
    real = fail(Code::kInvalidArgument, fmt::format("{} is no folder", printable(options.rootfs)));
  if (!real) return fail(Error(Code::kInvalidArgument, "--rootfs " + real.error().message()));
  options.image = std::move(*real);
  return {};
}

provision::OfflineSources offline_sources(const RunOptions& options) {
  return {options.install_mode == "offline", options.wheelhouse, options.npm_cache};
}

Result<std::map<std::string, std::string>> run_environment(const std::vector<std::string>& entries) {
  std::map<std::string, std::string> env;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (!config::is_variable_name(name)) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("--env {}: it must be NAME=value or NAME, of letters, digits and _", printable(name, 40)));
    }
    if (equals != std::string::npos) {
      env[name] = entry.substr(equals + 1);
      if (config::is_secret_variable(name, env[name])) keep_secret(Secret(env[name]));
      continue;
    }
    const char* value = ::getenv(name.c_str());
    if (value == nullptr)
      return fail(Code::kInvalidArgument, fmt::format("--env {}: the variable is not set here", printable(name, 40)));
    env[name] = value;
    if (config::is_secret_variable(name, env[name])) keep_secret(Secret(env[name]));
  }
  return env;
}

Result<config::ServerNetwork> run_network(const RunOptions& options) {
  config::ServerNetwork network;
  const auto mode = egress::parse_mode(options.network);
  if (!mode) return fail(Error(mode.error()).with_context("--network"));
  network.mode = *mode == egress::Mode::kNone     ? config::NetworkMode::kNone
                 : *mode == egress::Mode::kPublic ? config::NetworkMode::kPublic
                                                  : config::NetworkMode::kAllowlist;
  network.allow = options.allow;
  network.install_allow = options.install_allow;
  if (auto read = egress::parse_rules(options.allow); !read)
    return fail(std::move(read).error().with_context("--allow"));
  if (auto read = egress::parse_rules(options.install_allow); !read)
    return fail(std::move(read).error().with_context("--install-allow"));
  if (network.mode == config::NetworkMode::kNone && !network.allow.empty()) {
    return fail(Code::kInvalidArgument, "--network none and --allow contradict each other; leave one of them out");
  }
  for (const std::string& range : options.allow_private) {
    if (auto read = egress::Cidr::parse(range); !read)
      return fail(std::move(read).error().with_context("--allow-private"));
  }
  return network;
}

Result<std::vector<config::PublishedPort>> run_ports(const RunOptions& options) {
  std::vector<config::PublishedPort> ports;
  for (const std::string& text : options.publish) {
    auto port = config::parse_port(text);
    if (!port) return fail(std::move(port).error().with_context(fmt::format("--publish {}", printable(text, 40))));
    if (std::ranges::any_of(ports, [&](const config::PublishedPort& other) { return other.host == port->host; }))
      return fail(Code::kInvalidArgument, fmt::format("--publish {}: this port stands there twice", port->host));
    ports.push_back(*port);
  }
  if (ports.size() > config::kMaxPublishedPorts) {
    return fail(Code::kInvalidArgument,
                fmt::format("--publish: a server has at most {} published ports", config::kMaxPublishedPorts));
  }
  return ports;
}

box::ServerLimits run_limits(const RunOptions& options) {
  box::ServerLimits limits;
  limits.memory_bytes = options.memory_mb << 20;
  limits.memory_of_all = limits.memory_bytes;
  limits.processes = options.pids;
  limits.disk_bytes = options.disk_mb << 20;
  limits.files = options.max_files;
  return limits;
}

Result<workspace::Plan> run_plan(const RunOptions& options, const std::map<std::string, std::string>& env,
                                 const std::string& image_id, const std::string& state_dir, const std::string& engine) {
  workspace::LaunchSpec spec;
  spec.name = options.command.front();
  spec.command = options.command.front();
  spec.args.assign(options.command.begin() + 1, options.command.end());
  spec.env = env;
  spec.host_path_mode = workspace::Access::kReadWrite;  // a copy: the server may do with it what it likes

  workspace::Policy policy;
  policy.same_paths = true;
  policy.infer = false;
  policy.workspace = "/workspace/.mcp/server/workspace";
  policy.image_id = image_id;
  policy.platform = workspace::platform_of(image_id);
  policy.origin = provision::install_origin(provision::install_variables(), offline_sources(options));
  if (const auto minor = workspace::python_minor_of(image_id)) policy.python_minor = *minor;
  policy.locked = options.install_mode == "locked";
  policy.refreshed = provision::EnvLedger(state_dir).refreshed();
  if (const char* home = ::getenv("HOME"); home != nullptr) policy.home = home;
  policy.denied = denied_places(name_paths("", ""), engine.empty() ? options.engine : engine);

  for (const std::string& dir : options.stage) {
    auto real = real_folder(dir);
    if (!real) return fail(Error(Code::kInvalidArgument, "--stage " + real.error().message()));
    policy.allowed_roots.push_back(*real);
    if (!spec.host_path) {
      spec.host_path = *real;
    } else {
      spec.more_stage.push_back(*real);
    }
  }
  for (const std::string& mount : options.mounts) {
    workspace::MountRequest request;
    std::string dir = mount;
    if (dir.ends_with(":rw") || dir.ends_with(":ro")) {
      request.access = dir.ends_with(":rw") ? workspace::Access::kReadWrite : workspace::Access::kReadOnly;
      dir.resize(dir.size() - 3);
    }
    auto real = real_folder(dir);
    if (!real) {
      const std::size_t colon = dir.rfind(':');
      const bool mode =
          colon != std::string::npos && !dir.substr(colon).contains('/') && real_folder(dir.substr(0, colon));
      return fail(Error(Code::kInvalidArgument, mode ? fmt::format("--mount {}: '{}' is neither ro nor rw",
                                                                   printable(dir), printable(dir.substr(colon + 1), 40))
                                                     : "--mount " + real.error().message()));
    }
    request.host = *real;
    policy.allowed_roots.push_back(*real);
    spec.mounts.push_back(std::move(request));
  }
  // A server that works on a folder works in it.
  if (spec.host_path) {
    spec.cwd = *spec.host_path;
  } else if (!spec.mounts.empty()) {
    spec.cwd = spec.mounts.front().host;
  }
  std::error_code unknown;
  if (std::string here = std::filesystem::current_path(unknown).string(); !unknown) spec.typed_in = std::move(here);
  auto plan = workspace::make_plan(spec, policy);
  if (plan && options.install_mode != "offline" && !(options.wheelhouse.empty() && options.npm_cache.empty()))
    plan->hints.push_back("--wheelhouse and --npm-cache are used with --install-mode offline only");
  if (plan) {
    add_closed_rules("--allow", options.allow, options.allow_private, *plan);
    add_closed_rules("--install-allow", options.install_allow, options.allow_private, *plan);
  }
  return plan;
}

void explain_toolchains(workspace::Plan& plan, const std::string& engine, const std::string& image) {
  if (!box::may_show_host_system(engine)) return;
  if (!image.empty() && root_fs_of(image) != RootFs::kHostSystem) return;
  const std::string where = engine == box::kHostSystemEngine ? "sandboxes" : "sandboxes of the native engine";
  const workspace::Toolchains chains = own_toolchains();
  for (const std::string& line : describe_toolchains(chains))
    plan.why.push_back(fmt::format("{} show, read-only, {}: your PATH finds them there", where, line));
  for (const std::string& note : chains.notes) plan.hints.push_back(note);
}

void foresee_user(workspace::Plan& plan) {
  if (const auto user = provision::user_for(plan, 1); !user)
    plan.refused.push_back({"the server's user", user.error().message()});
}

int explain_run(RunOptions options, bool as_json) {
  set_settings_from(SettingsFrom::kOptions);
  if (auto resolved = resolve_rootfs(options); !resolved) {
    print_err("mcpbox: {}\n", resolved.error().message());
    return kUsage;
  }
  if (auto bundle = resolve_ca_bundle(options.ca_bundle); !bundle) {
    print_err("mcpbox: {}\n", bundle.error().message());
    return kUsage;
  }
  auto env = run_environment(options.env);
  if (!env) {
    print_err("mcpbox: {}\n", env.error().message());
    return kUsage;
  }
  const auto network = run_network(options);
  if (!network) {
    print_err("mcpbox: {}\n", network.error().message());
    return kUsage;
  }
  const auto ports = run_ports(options);
  if (!ports) {
    print_err("mcpbox: {}\n", ports.error().message());
    return kUsage;
  }
  auto plan = run_plan(options, *env, options.image);
  if (!plan) {
    print_err("mcpbox: {}\n", plan.error().message());
    return exit_code_of(plan.error());
  }
  Redactor redact;
  for (const auto& [name, value] : *env) {
    if (config::is_secret_variable(name, value)) redact.add(Secret(value));
  }
  foresee_user(*plan);
  explain_toolchains(*plan, options.engine, options.image);
  const auto variables = provision::install_variables();
  const egress::SettingsReader user = provision::settings_of_user(variables);
  Explained explained{*plan, *network, *ports, user, {}, run_limits(options), options.cpus, "every run has", {}};
  for (const auto& [name, value] : variables) explained.install_names.push_back(name);
  print_explained(explained, as_json, redact);
  return plan->refused.empty() ? kOk : kFailed;
}

}  // namespace mcpbox::app
