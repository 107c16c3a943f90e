#include "app/compose/run_plan.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "base/errno_error.h"
#include "base/root_fs.h"
#include "base/secrets.h"
#include "base/text.h"
#include "box/engines/locator.h"
#include "config/keys.h"
#include "config/ports.h"
#include "egress/rules/policy.h"
#include "json/writer.h"
#include "provision/egress_policy.h"
#include "provision/environment.h"
#include "provision/install/env_ledger.h"
#include "provision/install/install_origin.h"
#include "provision/launch.h"
#include "workspace/host_view.h"

namespace mcpbox::app {
namespace {

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
  return plan;
}

namespace {

std::string network_in_words(const egress::PolicyText& policy) {
  if (policy.mode == "none") return "none while it runs";
  const std::string named = printable(join(policy.allow, ", "), 2000);
  if (policy.mode == "public") return named.empty() ? "any public address" : "any public address, and " + named;
  return named.empty() ? "nothing yet: --allow HOST (box.network.allow) lets it talk to a host"
                       : named + ", and nothing else";
}

// The hash is of this plan without the image's id, and no environment will ever have it.
std::string without_hash(const workspace::Plan& plan, std::string text) {
  if (!plan.install || plan.install->hash.empty()) return text;
  const std::string& hash = plan.install->hash;
  for (auto at = text.find(hash); at != std::string::npos; at = text.find(hash, at))
    text.replace(at, hash.size(), "HASH");
  return text;
}

}  // namespace

void print_plan(const workspace::Plan& plan, const config::ServerNetwork& network,
                const std::vector<config::PublishedPort>& ports, const egress::SettingsReader& user, bool as_json,
                const Redactor& redact) {
  auto running_policy = provision::run_policy(network, user);
  auto installing_policy = plan.install ? provision::install_policy(network, plan.install->manager, user)
                                        : Result<egress::PolicyText>(egress::PolicyText());
  for (const auto* policy : {&running_policy, &installing_policy}) {
    if (!*policy) print_err("mcpbox: {}\n", policy->error().message());
  }
  const egress::PolicyText running = std::move(running_policy).value_or(egress::PolicyText());
  const egress::PolicyText installing = std::move(installing_policy).value_or(egress::PolicyText());
  if (as_json) {
    json::Writer out;
    out.object().member("mode", running.mode).member("allow", running.allow);
    out.member("install_allow", installing.install_allow).member("registries", installing.registries);
    out.array("publish");
    for (const config::PublishedPort& port : ports)
      out.object().member("host", port.host).member("server", port.server).end();
    out.end().end();
    print_out("{}\n", redact(without_hash(plan, workspace::plan_to_json(plan, "network", out.take()))));
    return;
  }
  std::string text = fmt::format("runs      {}\n", display_command(plan.argv));
  if (!plan.cwd.empty()) text += fmt::format("in        {}\n", printable(plan.cwd));
  for (const workspace::Root& root : plan.roots) {
    text += fmt::format("{:<9} {} at {}, {}\n", root.mode == workspace::RootMode::kStage ? "copies" : "mounts",
                        printable(root.host), printable(root.mount),
                        root.access == workspace::Access::kReadWrite ? "read-write" : "read-only");
  }
  if (plan.install) {
    for (const workspace::InstallStep& step : plan.install->steps)
      text += fmt::format("installs  {}: {}\n", step.title, display_command(step.argv));
    text += fmt::format("          from {}\n", join(installing.registries, ", "));
    if (!installing.install_allow.empty())
      text += fmt::format("          and from {}\n", join(installing.install_allow, ", "));
  }
  text += fmt::format("network   {}\n", network_in_words(running));
  for (const config::PublishedPort& port : ports) {
    text +=
        fmt::format("publishes 127.0.0.1:{} of this machine: whoever connects there reaches port {} of the server\n",
                    port.host, port.server);
  }
  for (const workspace::Refusal& refusal : plan.refused)
    text += fmt::format("REFUSES   {}: {}\n", printable(refusal.path), refusal.reason);
  for (const std::string& hint : plan.hints) text += fmt::format("hint      {}\n", hint);
  for (const std::string& why : plan.why) text += fmt::format("because   {}\n", why);
  print_out("{}", redact(without_hash(plan, std::move(text))));
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
  print_plan(*plan, *network, *ports, provision::settings_of_user(provision::install_variables()), as_json, redact);
  return plan->refused.empty() ? kOk : kFailed;
}

}  // namespace mcpbox::app
