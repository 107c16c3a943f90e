#include "app/verbs/config_verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "app/compose/config_file.h"
#include "app/compose/engine_setup.h"
#include "app/compose/explained.h"
#include "app/compose/paths.h"
#include "app/compose/problems.h"
#include "app/compose/run_plan.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/complain.h"
#include "base/secrets.h"
#include "base/text.h"
#include "config/shares.h"
#include "egress/rules/closed_rules.h"
#include "hosting/server_modes.h"
#include "json/writer.h"
#include "provision/egress_policy.h"
#include "provision/launch.h"
#include "provision/server_plan.h"
#include "provision/server_start.h"
#include "workspace/command.h"
#include "workspace/denied.h"
#include "workspace/host_view.h"
#include "workspace/needed_folder.h"
#include "workspace/path_text.h"

namespace mcpbox::app {
namespace {

// As the daemon of this configuration plans, as far as no engine is needed to know it.
provision::PlanPolicy policy_of(const config::Settings& settings) {
  const Paths paths = name_paths(settings.daemon.state_dir, settings.daemon.socket);
  provision::PlanPolicy policy;
  policy.allowed_roots = settings.allowed_roots;
  policy.denied = denied_places(paths, settings.engine.address);
  policy.home = paths.home;
  policy.secret_files = provision::secret_files_of(settings);
  policy.locked = settings.box.install_mode == config::InstallMode::kLocked;
  return policy;
}

// Where the file speaks of the path: the text that is it, else the first that holds it, else the server's name.
std::pair<int, int> place_of(const config::ServerSettings& server, const std::string& path) {
  const config::Written* holds = nullptr;
  for (const config::Written& written : server.written) {
    if (written.text == path) return {written.line, written.column};
    if (holds == nullptr && !path.empty() && written.text.find(path) != std::string::npos) holds = &written;
  }
  return holds != nullptr ? std::pair(holds->line, holds->column) : std::pair(server.line, server.column);
}

void add_roots(const config::Settings& settings, const provision::PlanPolicy& policy,
               std::vector<config::Problem>& problems) {
  const workspace::DeniedPlaces denied(policy.denied, policy.home);
  for (const config::Written& root : settings.written_roots) {
    if (const std::string why = denied.refuse_all_of(root.text); !why.empty()) {
      problems.push_back({settings.file, root.line, root.column,
                          fmt::format("workspace.allowed_roots: '{}': {}", printable(root.text, 300), why)});
    }
  }
}

void add_server(const config::Settings& settings, const config::ServerSettings& server,
                const provision::PlanPolicy& policy, std::vector<config::Problem>& problems) {
  const auto add = [&](const std::string& path, const std::string& what) {
    const auto [line, column] = place_of(server, path);
    config::Problem problem{settings.file, line, column,
                            sentence_without_secrets(fmt::format("servers.{}: {}", server.name, what))};
    const auto same = [&](const config::Problem& known) { return known.text() == problem.text(); };
    if (std::ranges::none_of(problems, same)) problems.push_back(std::move(problem));
  };
  const std::string& image = server.box.image.value_or(settings.box.image);
  const auto plan = hosting::server_mode(server.mode).plan(server, {server.name, ""}, policy, image);
  if (!plan) return add("", plan.error().message());
  for (const workspace::Refusal& refusal : plan->refused)
    add(refusal.path, fmt::format("'{}': {}", printable(refusal.path, 300), refusal.reason));
  if (const auto user = provision::user_for(*plan, 1); !user) {
    const auto decides = std::ranges::find_if(plan->roots, [&](const workspace::Root& root) {
      return root.mode == workspace::RootMode::kBind && user.error().message().starts_with(root.host + " ");
    });
    add(decides == plan->roots.end() ? "" : decides->host, user.error().message());
  }
}

// The script that python or node is to run, where it cannot be: "" when all is well, or nobody can tell. An image may
// have what this machine has not, so this is a warning.
std::string missing_script_of(const config::ServerSettings& server) {
  const std::string script = workspace::parse_command(server.command, server.args).script_path;
  if (script.empty() || script.contains("${") || script.starts_with('-')) return {};
  const std::string named = from_outside(script, 300);
  if (script.starts_with('/')) {
    if (workspace::is_system_path(script) || workspace::host_kind(script) != workspace::HostKind::kNothing) return {};
    return fmt::format("there is no '{}' on this machine; the server can start only if its image has it", named);
  }
  if (!workspace::may_be_relative(script)) return {};
  std::vector<std::string> folders;
  if (server.cwd) folders.push_back(*server.cwd);
  if (server.box.host_path) folders.push_back(*server.box.host_path);
  for (const config::MountSettings& mount : server.box.mounts) folders.push_back(mount.host);
  const auto has = [&](const std::string& folder) {
    return workspace::host_kind(workspace::join_path(folder, script)) != workspace::HostKind::kNothing;
  };
  if (std::ranges::any_of(folders, has)) return {};
  if (folders.empty()) {
    return fmt::format(
        "'{}' is looked for in the server's own folder, which is empty at first: write the whole path, "
        "or name its folder in cwd",
        named);
  }
  return fmt::format("there is no '{}' in {}; write where it is", named, printable(join(folders, ", "), 600));
}

std::vector<config::Problem> script_warnings(const config::Settings& settings) {
  std::vector<config::Problem> warnings;
  for (const config::ServerSettings& server : settings.servers) {
    const std::string what = missing_script_of(server);
    if (what.empty()) continue;
    const auto [line, column] = place_of(server, workspace::parse_command(server.command, server.args).script_path);
    warnings.push_back({settings.file, line, column, fmt::format("servers.{}.args: {}", server.name, what)});
  }
  return warnings;
}

std::vector<config::Problem> network_warnings_of(const config::Settings& settings,
                                                 const config::ServerSettings& server) {
  std::vector<config::Problem> warnings;
  const auto look_at = [&](std::string_view key, const std::vector<std::string>& rules) {
    for (const egress::ClosedRule& closed :
         egress::closed_rules(rules, settings.egress.allow_private, settings.egress.hosts)) {
      const auto [line, column] = place_of(server, closed.rule);
      warnings.push_back(
          {settings.file, line, column,
           sentence_without_secrets(fmt::format("servers.{}.box.network.{}: '{}' lets nothing through: {}", server.name,
                                                key, printable(closed.rule, 300), closed.why))});
    }
  };
  look_at("allow", server.box.network.allow);
  look_at("install_allow", server.box.network.install_allow);
  return warnings;
}

}  // namespace

std::vector<config::Problem> plan_problems(const config::Settings& settings) {
  const provision::PlanPolicy policy = policy_of(settings);
  std::vector<config::Problem> problems;
  add_roots(settings, policy, problems);
  if (auto there = check_socket_folder(settings.daemon.socket); !there)
    problems.push_back({settings.file, 0, 0, "daemon.socket: " + there.error().message()});
  for (const config::ServerSettings& server : settings.servers) add_server(settings, server, policy, problems);
  config::sort_by_place(problems);
  return problems;
}

std::vector<config::Problem> network_warnings(const config::Settings& settings) {
  std::vector<config::Problem> warnings;
  for (const config::ServerSettings& server : settings.servers) {
    for (config::Problem& warning : network_warnings_of(settings, server)) warnings.push_back(std::move(warning));
  }
  config::sort_by_place(warnings);
  return warnings;
}

namespace {

std::vector<config::Problem> warnings_of(const config::Settings& settings) {
  std::vector<config::Problem> warnings = network_warnings(settings);
  std::ranges::move(script_warnings(settings), std::back_inserter(warnings));
  config::sort_by_place(warnings);
  return warnings;
}

void print_warnings(std::vector<config::Problem> warnings) {
  for (config::Problem& warning : warnings) warning.what.insert(0, "warning: ");
  print_problems(warnings);
}

}  // namespace

int check_config(const std::string& file, bool as_json) {
  const auto loaded = load_config(file);
  const std::vector<config::Problem> problems = loaded ? plan_problems(*loaded) : loaded.error();
  const std::vector<config::Problem> warnings = loaded ? warnings_of(*loaded) : std::vector<config::Problem>();
  if (as_json) {
    json::Writer out;
    out.object().member("ok", problems.empty());
    for (const auto& [key, list] : {std::pair("problems", &problems), std::pair("warnings", &warnings)}) {
      out.array(key);
      for (const config::Problem& problem : *list) {
        out.object().member("file", problem.file).member("line", problem.line).member("column", problem.column);
        out.member("what", problem.what).end();
      }
      out.end();
    }
    print_out("{}", out.end().take_line());
    return problems.empty() ? kOk : kUsage;
  }
  print_warnings(warnings);
  if (!loaded || !problems.empty()) {
    print_problems(problems);
    print_err("mcpbox: {} problem{} in {}\n", problems.size(), problems.size() == 1 ? "" : "s", file);
    return kUsage;
  }
  print_out("{}: ok, {} server{}\n", file, loaded->servers.size(), loaded->servers.size() == 1 ? "" : "s");
  return kOk;
}

int explain_server(const std::string& file, const std::string& server, const std::string& engine, bool as_json) {
  auto loaded = load_config(file);
  if (!loaded) {
    print_problems(loaded.error());
    return kUsage;
  }
  std::vector<std::string> names;
  for (const config::ServerSettings& settings : loaded->servers) {
    names.push_back(settings.name);
    if (settings.name != server) continue;
    const std::string& image = settings.box.image.value_or(loaded->box.image);
    auto plan = hosting::server_mode(settings.mode).plan(settings, {settings.name, ""}, policy_of(*loaded), image);
    if (!plan) return complain(plan.error(), exit_code_of(plan.error()));
    foresee_user(*plan);
    explain_toolchains(*plan, engine.empty() ? loaded->engine.address : engine, image);
    for (const config::Problem& warning : network_warnings_of(*loaded, settings)) plan->hints.push_back(warning.what);
    std::map<std::string, Secret> install_env;
    for (const auto& [name, value] : loaded->box.install_env) install_env[name] = value.text;
    const auto variables = provision::install_variables(std::move(install_env));
    const egress::SettingsReader user = provision::settings_of_user(variables);
    const std::string alone = provision::why_alone(settings.box, *plan);
    Explained explained{*plan,
                        settings.box.network,
                        settings.box.ports,
                        user,
                        {},
                        provision::limits_of(loaded->box.limits, settings.box, alone.empty()),
                        loaded->box.limits.cpus,
                        alone,
                        config::sharing_with(*loaded, settings)};
    for (const auto& [name, value] : variables) explained.install_names.push_back(name);
    print_explained(explained, as_json, provision::redactor_for(settings));
    return plan->refused.empty() ? kOk : kFailed;
  }
  return complain(
      Error(Code::kNotFound, fmt::format("{} has no server '{}'{}; there are: {}", file, printable(server, 100),
                                         did_you_mean(server, names), join(names, ", "))),
      kUsage);
}

}  // namespace mcpbox::app
