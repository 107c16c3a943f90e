// Part of install.h: what Node projects and npm packages need.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "workspace/host_view.h"
#include "workspace/install.h"
#include "workspace/path_text.h"
#include "workspace/pinned.h"
#include "workspace/project.h"

namespace mcpbox::workspace {
namespace {

using Json = nlohmann::json;

// npm 12 neither runs the scripts of dependencies nor fetches from repositories, archives and folders unless told to,
// which protects a developer's machine; here it would only leave native packages broken, and the installer's sandbox
// holds nothing to steal. As variables, because older versions do not know them and npm 12 ends at unknown options.
std::map<std::string, std::string> npm_environment() {
  return {{"npm_config_cache", at_base("cache/npm")},
          {"npm_config_update_notifier", "false"},
          {"npm_config_fund", "false"},
          {"npm_config_audit", "false"},
          {"npm_config_progress", "false"},
          {"npm_config_dangerously_allow_all_scripts", "true"},
          {"npm_config_allow_git", "all"},
          {"npm_config_allow_remote", "all"},
          {"npm_config_allow_file", "all"},
          {"npm_config_allow_directory", "all"}};
}

// nlohmann writes nested values by recursion, so a file of brackets could end the program.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 100) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// package.json; a discarded value when it cannot be read or is no object.
Json read_package(Draft& draft, const Site& site, const std::string& path) {
  auto text = site.text(draft, path, kMaxManifest);
  if (!text) return Json(Json::value_t::discarded);
  draft.plan.manifests.push_back(path);
  Json package = too_deep(*text) ? Json(Json::value_t::discarded) : Json::parse(*text, nullptr, false);
  if (!package.is_object()) {
    draft.refused.push_back({path, "it is no JSON object; npm cannot read it either"});
    return Json(Json::value_t::discarded);
  }
  return package;
}

bool has_entries(const Json& package, const char* member) {
  auto found = package.find(member);
  return found != package.end() && found->is_object() && !found->empty();
}

// Does the package need folders beside itself: workspaces, or a dependency that is a path?
bool needs_folder(Draft& draft, const Site& site, const Json& package, const std::string& folder) {
  if (package.contains("workspaces") || site.has(draft, folder, "pnpm-workspace.yaml")) return true;
  for (const char* member : {"dependencies", "optionalDependencies", "devDependencies", "overrides"}) {
    auto found = package.find(member);
    if (found == package.end() || !found->is_object()) continue;
    for (const auto& [name, version] : found->items()) {
      if (!version.is_string()) continue;
      const auto& text = version.get_ref<const std::string&>();
      if (text.starts_with("file:") || text.starts_with("link:") || text.starts_with("workspace:") ||
          text.starts_with("portal:") || text.starts_with('.'))
        return true;
    }
  }
  return false;
}

struct NodeProject {
  std::string folder;
  Json package;
};

// The nearest package.json upwards from where the program is; nothing when there is none in the root.
std::optional<NodeProject> find_project(Draft& draft, const Site& site) {
  const Root* root = site.project_start.empty() ? nullptr : site.root_of(site.project_start);
  if (root == nullptr) return std::nullopt;
  auto nearest = nearest_project(site.project_start, root->host, Language::kNode);
  if (!nearest || !site.has(draft, *nearest, "package.json")) return std::nullopt;
  std::string folder = workspace_above(site.files, *nearest, root->host, site.within(*nearest)).value_or(*nearest);
  if (!site.has(draft, folder, "package.json")) folder = *nearest;
  Json package = read_package(draft, site, join_path(folder, "package.json"));
  if (package.is_discarded()) return std::nullopt;
  if (folder != *nearest)
    draft.why.push_back("'" + *nearest + "' belongs to the workspace in '" + folder + "', so that is installed");
  return NodeProject{folder, std::move(package)};
}

void write_inputs(Draft& draft, const Site& site, const NodeProject& project, std::string_view lock) {
  if (needs_folder(draft, site, project.package, project.folder)) {
    // npm links such packages relative to the project, so the folder itself becomes the environment.
    add_source(draft, site, project.folder, at_base("env"));
    draft.why.emplace_back("package.json refers to folders beside itself, so the whole folder is installed");
    return;
  }
  Json package = project.package;
  // "prepare" and the like build the project from sources that are not here; what the dependencies bring runs.
  package.erase("scripts");
  draft.plan.inputs.push_back(
      {at_base("env/package.json"), package.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"});
  if (!lock.empty()) {
    if (auto text = site.text(draft, join_path(project.folder, lock), kMaxLock))
      draft.plan.inputs.push_back({at_base("env/" + std::string(lock)), std::move(*text)});
  }
  if (site.files.look(site.within(project.folder), join_path(project.folder, ".npmrc")).kind ==
      FolderReader::Kind::kFile)
    draft.hints.push_back("'" + project.folder +
                          "/.npmrc' is not given to the installation, because it may hold credentials; name a registry "
                          "in the configuration");
}

std::string manager_version(const Json& package, std::string_view manager, std::string_view fallback) {
  auto found = package.find("packageManager");
  if (found == package.end() || !found->is_string()) return std::string(fallback);
  std::string text = found->get<std::string>();
  text = text.substr(0, text.find('+'));
  std::string prefix = std::string(manager) + "@";
  bool plain =
      std::all_of(text.begin() + static_cast<std::ptrdiff_t>(std::min(prefix.size(), text.size())), text.end(),
                  [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-'; });
  return text.starts_with(prefix) && text.size() > prefix.size() && plain ? text.substr(prefix.size())
                                                                          : std::string(fallback);
}

// Steps that fill env/node_modules with what the project needs.
void add_project_steps(Draft& draft, const Site& site, const NodeProject& project, bool with_development) {
  const std::string& folder = project.folder;
  auto step = [&](std::string title, std::vector<std::string> argv) {
    draft.plan.steps.push_back({std::move(title), std::move(argv), npm_environment(), at_base("env")});
  };
  auto lock_read = [&](std::string_view lock) { draft.plan.manifests.push_back(join_path(folder, lock)); };
  for (std::string_view lock : {"npm-shrinkwrap.json", "package-lock.json"}) {
    if (!site.has(draft, folder, lock)) continue;
    lock_read(lock);
    write_inputs(draft, site, project, lock);
    draft.plan.manager = "npm";
    std::vector<std::string> argv{"npm", "ci", "--no-audit", "--no-fund"};
    argv.emplace_back(with_development ? "--include=dev" : "--omit=dev");
    step("install what " + std::string(lock) + " names with npm", std::move(argv));
    return;
  }
  if (site.has(draft, folder, "pnpm-lock.yaml")) {
    lock_read("pnpm-lock.yaml");
    write_inputs(draft, site, project, "pnpm-lock.yaml");
    draft.plan.manager = "pnpm";
    std::vector<std::string> argv{"npm",
                                  "exec",
                                  "--yes",
                                  "--package=pnpm@" + manager_version(project.package, "pnpm", "9"),
                                  "--",
                                  "pnpm",
                                  "install",
                                  "--frozen-lockfile",
                                  "--package-import-method=copy",
                                  "--store-dir=" + at_base("cache/pnpm")};
    if (!with_development) argv.emplace_back("--prod");
    step("install what pnpm-lock.yaml names with pnpm", std::move(argv));
    return;
  }
  std::string yarn =
      site.has(draft, folder, "yarn.lock") ? manager_version(project.package, "yarn", "1.22.22") : std::string();
  if (yarn.starts_with("1.")) {
    lock_read("yarn.lock");
    write_inputs(draft, site, project, "yarn.lock");
    draft.plan.manager = "yarn";
    std::vector<std::string> argv{"npm",
                                  "exec",
                                  "--yes",
                                  "--package=yarn@" + yarn,
                                  "--",
                                  "yarn",
                                  "install",
                                  "--frozen-lockfile",
                                  "--non-interactive",
                                  "--cache-folder",
                                  at_base("cache/yarn")};
    if (!with_development) argv.emplace_back("--production");
    step("install what yarn.lock names with yarn", std::move(argv));
    return;
  }
  if (!yarn.empty())
    draft.why.emplace_back(
        "the lock file of this version of yarn is not understood, so npm resolves the versions anew");
  write_inputs(draft, site, project, "");
  draft.plan.manager = "npm";
  std::vector<std::string> argv{"npm", "install", "--no-audit", "--no-fund"};
  argv.emplace_back(with_development ? "--include=dev" : "--omit=dev");
  step("install what package.json names with npm", std::move(argv));
  draft.unpinned.push_back({join_path(folder, "package.json"),
                            yarn.empty() ? "it has no lock file; make one with `npm install --package-lock-only`"
                                         : "its yarn.lock is of a version that is not understood; make a "
                                           "package-lock.json with `npm install --package-lock-only`"});
  if (yarn.empty()) draft.why.emplace_back("there is no lock file, so npm resolves the versions once");
}

void finish_project(Draft& draft, const NodeProject& project) {
  draft.needed = true;
  draft.link_into = project.folder;
  draft.path_prefix.push_back(at_base("env/node_modules/.bin"));
  if (host_kind(join_path(project.folder, "node_modules")) == HostKind::kDirectory) {
    draft.why.push_back(
        "'" + project.folder +
        "/node_modules' was made for this host and stays behind; the packages are installed for the sandbox");
  }
}

bool has_dependencies(const Json& package) {
  return has_entries(package, "dependencies") || has_entries(package, "optionalDependencies") ||
         package.contains("workspaces");
}

}  // namespace

Draft plan_node_project(const Command& command, const Site& site) {
  Draft draft;
  auto project = find_project(draft, site);
  if (!project) return draft;
  bool development =
      command.kind == Command::Kind::kNodeRunner || command.program == "tsx" || command.script_path.ends_with("ts");
  if (!has_dependencies(project->package) && !(development && has_entries(project->package, "devDependencies"))) {
    draft.why.push_back("'" + project->folder + "/package.json' names no dependencies, so nothing is installed");
    return draft;
  }
  // Scripts such as "start": "tsx src/index.ts" are run by packages for development.
  add_project_steps(draft, site, *project, development);
  finish_project(draft, *project);
  return draft;
}

Draft plan_npm_package(const Command& command, const Site& site) {
  Draft draft;
  std::vector<std::string> specs = command.packages;
  std::string only = specs.size() == 1 ? npm_name_of(specs[0]) : std::string();
  // The package runs a file of a project (npx tsx /p/server.ts): that needs the project's packages too, in the same
  // place.
  bool declared = false;
  if (!site.project_start.empty()) {
    auto project = find_project(draft, site);
    if (project && (has_dependencies(project->package) || has_entries(project->package, "devDependencies"))) {
      add_project_steps(draft, site, *project, true);
      finish_project(draft, *project);
      for (const char* member : {"dependencies", "devDependencies"}) {
        declared |=
            has_entries(project->package, member) && project->package[member].contains(only) && specs[0] == only;
      }
    }
  }
  bool with_project = draft.needed;
  for (std::string& spec : specs) {
    std::string path = spec.starts_with("file:") ? spec.substr(5) : spec;
    if (!path.starts_with('/') && !path.starts_with("./") && !path.starts_with("../") && path != ".") continue;
    auto real = canonical(path.starts_with('/') ? path : join_path(site.start, path));
    const Root* root = real ? site.root_of(*real) : nullptr;
    if (root == nullptr) {
      draft.refused.push_back({spec, "this package is on the host and not in a folder that goes into the sandbox"});
      continue;
    }
    add_source(draft, site, root->host, at_base("tmp/src"));
    draft.unpinned.push_back({*real, "it is a folder of this host, and nothing pins what the package needs"});
    spec = "file:" + join_path(at_base("tmp/src"), relative_to(*real, root->host));
    draft.plan.manifests.push_back(*real);
  }
  if (specs.size() == 1 && only.empty()) {
    // What a repository or an archive is called is known only when it is there, so it gets a name from us.
    only = "mcpbox-package";
    specs[0] = only + "@" + specs[0];
  }
  for (const std::string& spec : command.packages) {
    if (declared || spec.starts_with('.') || spec.starts_with('/') || spec.starts_with("file:") ||
        is_exact_npm_spec(spec))
      continue;
    draft.unpinned.push_back({spec, "it names no exact version; write " +
                                        (npm_name_of(spec).empty() ? "NAME" : npm_name_of(spec)) + "@1.2.3"});
  }
  draft.plan.asked = command.packages;
  if (!declared) {
    // With a project around it, the package joins what is there instead of replacing it.
    std::vector<std::string> argv{"npm",
                                  "install",
                                  "--prefix",
                                  at_base("env"),
                                  "--no-audit",
                                  "--no-fund",
                                  with_project ? "--no-save" : "--omit=dev"};
    // A folder would only be linked, and the link would lead to what is deleted after the installation.
    if (!draft.plan.sources.empty()) argv.emplace_back("--install-links");
    argv.insert(argv.end(), command.installer_flags.begin(), command.installer_flags.end());
    argv.emplace_back("--");
    argv.insert(argv.end(), specs.begin(), specs.end());
    draft.plan.steps.push_back(
        {"install " + join(command.packages, ", ") + " with npm", std::move(argv), npm_environment(), at_base("env")});
  }
  draft.plan.manager = draft.plan.manager.empty() ? "npm" : draft.plan.manager;
  draft.needed = true;
  if (!with_project) draft.path_prefix.push_back(at_base("env/node_modules/.bin"));
  if (specs.size() == 1) {
    draft.plan.program = {Program::Kind::kNpmBin, only, command.executable};
    std::string guess(base_name(command.executable.empty() ? only : command.executable));
    draft.argv = {at_base("env/node_modules/.bin/" + guess)};
  } else {
    draft.argv = {at_base("env/node_modules/.bin/" + command.executable)};
  }
  draft.argv.insert(draft.argv.end(), command.args.begin(), command.args.end());
  draft.why.push_back(join(command.packages, ", ") + " is installed once and then started without a registry");
  return draft;
}

}  // namespace mcpbox::workspace
