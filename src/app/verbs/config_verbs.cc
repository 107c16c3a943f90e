#include "app/verbs/config_verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "app/compose/config_file.h"
#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/compose/problems.h"
#include "app/compose/run_plan.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/complain.h"
#include "base/text.h"
#include "hosting/server_modes.h"
#include "json/writer.h"
#include "provision/egress_policy.h"
#include "provision/launch.h"
#include "provision/server_plan.h"
#include "workspace/denied.h"

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
  const Redactor redact = provision::redactor_for(server);
  const auto add = [&](const std::string& path, const std::string& what) {
    const auto [line, column] = place_of(server, path);
    config::Problem problem{settings.file, line, column, redact(fmt::format("servers.{}: {}", server.name, what))};
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

}  // namespace

std::vector<config::Problem> plan_problems(const config::Settings& settings) {
  const provision::PlanPolicy policy = policy_of(settings);
  std::vector<config::Problem> problems;
  add_roots(settings, policy, problems);
  for (const config::ServerSettings& server : settings.servers) add_server(settings, server, policy, problems);
  config::sort_by_place(problems);
  return problems;
}

int check_config(const std::string& file, bool as_json) {
  const auto loaded = load_config(file);
  const std::vector<config::Problem> problems = loaded ? plan_problems(*loaded) : loaded.error();
  if (as_json) {
    json::Writer out;
    out.object().member("ok", problems.empty()).array("problems");
    for (const config::Problem& problem : problems) {
      out.object().member("file", problem.file).member("line", problem.line).member("column", problem.column);
      out.member("what", problem.what).end();
    }
    print_out("{}", out.end().end().take_line());
    return problems.empty() ? kOk : kUsage;
  }
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
    std::map<std::string, Secret> install_env;
    for (const auto& [name, value] : loaded->box.install_env) install_env[name] = value.text;
    print_plan(*plan, settings.box.network, settings.box.ports,
               provision::settings_of_user(provision::install_variables(std::move(install_env))), as_json,
               provision::redactor_for(settings));
    return plan->refused.empty() ? kOk : kFailed;
  }
  return complain(Error(Code::kNotFound, fmt::format("{} has no server '{}'; there are: {}", file,
                                                     printable(server, 100), join(names, ", "))),
                  kUsage);
}

}  // namespace mcpbox::app
