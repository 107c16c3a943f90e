#include "workspace/roots.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/setting_name.h"
#include "base/text.h"
#include "workspace/host_view.h"
#include "workspace/needed_folder.h"
#include "workspace/path_text.h"
#include "workspace/project.h"

namespace mcpbox::workspace {

RootFinder::RootFinder(const LaunchSpec& spec, const Policy& policy, Plan& plan, FolderReader& files)
    : spec_(spec), policy_(policy), plan_(plan), files_(files), denied_(policy.denied, policy.home) {
  for (const std::string& root : policy.allowed_roots) {
    struct stat status{};
    if (::stat(root.c_str(), &status) == 0) allowed_.insert(sys::id_of(status));
  }
}

std::string RootFinder::allowed_above(const std::string& folder) const {
  for (std::string at = folder;; at = parent_of(at)) {
    struct stat status{};
    if (::stat(at.c_str(), &status) == 0 && allowed_.contains(sys::id_of(status))) return at;
    if (at == "/") return {};
  }
}

std::string RootFinder::refuse(const std::string& folder) const {
  return judge(folder, denied_.refuse_root(folder), !allowed_above(folder).empty());
}

std::string RootFinder::refuse(const std::string& folder, const sys::ReachedDirectory& reached) const {
  const bool allowed = std::ranges::any_of(reached.chain, [&](const sys::FileId& id) { return allowed_.contains(id); });
  return judge(folder, denied_.refuse_root(folder, reached), allowed);
}

std::string RootFinder::judge(const std::string& folder, std::string denied, bool allowed) const {
  if (!denied.empty()) return denied;
  if (std::any_of(folder.begin(), folder.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return "its name has control characters";
  }
  if (allowed) return {};
  if (policy_.allowed_roots.empty())
    return "no folder of this host is allowed; add the project's folder to workspace.allowed_roots";
  return "it lies in none of the allowed roots (" + join(policy_.allowed_roots, ", ") +
         "); add the project's folder to workspace.allowed_roots";
}

bool RootFinder::add(const std::string& folder, const std::string& spelled, RootMode mode, Access access,
                     const std::string& why) {
  for (const Named& known : found_) {
    if (known.root.host == folder && known.root.mode == mode) return false;
  }
  found_.push_back({Root{.host = folder, .mode = mode, .access = access}, spelled});
  plan_.why.push_back(why);
  return true;
}

void RootFinder::name(const std::string& path, RootMode mode, Access access, const std::string& why) {
  auto real = canonical(path);
  if (!real) {
    plan_.refused.push_back({path, "there is no such folder on this host"});
    return;
  }
  // From here on the folder is what was opened, whatever a server that may write above it puts under its name.
  const auto reached = sys::reach_directory(*real);
  if (!reached) {
    plan_.refused.push_back({path, host_kind(*real) == HostKind::kFile
                                       ? "this is not a folder; name the folder that it lies in"
                                       : "it cannot be opened (" + reached.error().message() +
                                             "); if something changes it just now, try again"});
  } else if (std::string reason = refuse(*real, *reached); !reason.empty()) {
    plan_.refused.push_back({path, std::move(reason)});
  } else if (add(*real, normalise(path), mode, access, quoted_path(*real) + " " + why)) {
    Root& root = found_.back().root;
    root.id = reached->chain.front();
    root.owner_uid = reached->uid;
    root.owner_gid = reached->gid;
  }
}

bool RootFinder::covered(const std::string& folder) const {
  return std::any_of(found_.begin(), found_.end(),
                     [&](const Named& known) { return is_beneath(folder, known.root.host); });
}

// What a project holds is not its operator's word: a link that somebody else made in it would choose what goes in.
std::string RootFinder::leads_out(const std::string& path, Role role) const {
  std::string at = "/";  // without links
  const auto parts = split(std::string_view(path).substr(1), '/');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string next = join_path(at, parts[i]);
    struct stat status{};
    if (::lstat(next.c_str(), &status) != 0) return {};
    if (!S_ISLNK(status.st_mode)) {
      at = next;
      continue;
    }
    auto target = canonical(next);
    if (!target) return {};
    const std::string limit = allowed_above(at);
    auto project = limit.empty() ? std::nullopt : nearest_project(at, limit, Language::kAny);
    if (project && !refuse(*project).empty()) project.reset();
    if (project) project = workspace_above(files_, *project, limit).value_or(*project);
    // Without a manifest it is the folder of the script that would go in.
    const bool file = i + 1 == parts.size() && host_kind(*target) != HostKind::kDirectory;
    if (!project && !limit.empty() && file && role != Role::kProgram) project = at;
    if (project && !is_beneath(*target, *project)) {
      return fmt::format(
          "it is a link in {} to {}, outside of that project, so it is not followed: name {} itself, or stage it "
          "({})",
          quoted_path(*project), quoted_path(*target), quoted_path(*target), setting_name("box.host_path", "--stage"));
    }
    at = std::move(*target);
  }
  return {};
}

// One absolute path of the command line: does a folder have to go in for it, and which?
void RootFinder::consider(const std::string& path, Role role, bool whole, const std::string& what) {
  HostKind kind = host_kind(path);
  std::string clean = normalise(path);
  auto venv = venv_program(clean);
  // An environment that was never made on this host still says where the project is.
  bool unmade =
      kind == HostKind::kNothing && role == Role::kProgram && venv && host_kind(venv->project) == HostKind::kDirectory;
  if (kind == HostKind::kNothing && !unmade) return;
  if (venv) {
    if (venv->project.empty()) {
      plan_.why.push_back(what + " is in the virtual environment " + quoted_path(venv->environment) +
                          ", which was made for this host and stays behind");
      return;
    }
    // The link is not followed: it leads to this host's interpreter, and what counts is where the environment lies.
    clean = venv->project;
    kind = HostKind::kDirectory;
    role = Role::kFolder;
  } else if (role == Role::kProgram && is_runtime_name(base_name(clean))) {
    plan_.why.push_back(what + " is this host's; the sandbox has its own");
    return;
  }
  if (is_system_path(clean)) return;
  auto real = canonical(clean);
  if (!real || (role == Role::kProgram && is_system_path(*real))) return;
  std::string folder = kind == HostKind::kDirectory ? *real : parent_of(*real);
  if (covered(folder)) return;
  // Within an option or a list it may mean anything; as an argument of its own it is what the server works on.
  const auto forbid = [&](std::string reason) {
    auto same = [&](const Refusal& known) { return known.path == path; };
    if (std::any_of(plan_.refused.begin(), plan_.refused.end(), same)) return;
    if (whole)
      plan_.refused.push_back({path, std::move(reason)});
    else
      plan_.hints.push_back(quoted_path(path) + " exists on this host and is not in the sandbox: " + reason);
  };
  if (std::string link = leads_out(clean, role); !link.empty()) return forbid(std::move(link));
  std::string limit = allowed_above(folder);
  std::string chosen = folder;
  std::string reason = " is what " + what + " names";
  if (role != Role::kData && !limit.empty()) {
    auto project = nearest_project(folder, limit, Language::kAny);
    // A stray package.json in a home directory does not make that a project.
    if (project && refuse(*project).empty()) {
      chosen = *project;
      reason = " is the nearest folder with a manifest above what " + what + " names";
      auto workspace = workspace_above(files_, *project, limit);
      if (workspace && refuse(*workspace).empty()) {
        chosen = *workspace;
        reason = " is the workspace to which the nearest folder with a manifest above what " + what + " names belongs";
      }
    }
  } else if (role == Role::kData && kind != HostKind::kDirectory) {
    reason = " is the folder of what " + what + " names";
  }
  if (std::string refusal = refuse(chosen); !refusal.empty()) return forbid(std::move(refusal));
  add(chosen, {}, RootMode::kStage, spec_.host_path_mode, quoted_path(chosen) + reason);
}

// A working directory alone asks for no copy: it may hold anything.
void RootFinder::start_in(const std::string& folder, const Command& command) {
  const auto real = canonical(folder);
  const std::string what = real ? needed_in(*real, allowed_above(*real), spec_, command) : std::string();
  if (real && what.empty()) {
    // Named is named: it has to be allowed, copied or not.
    std::string refusal = judge(*real, {}, is_system_path(normalise(folder)) || !allowed_above(*real).empty());
    if (!refusal.empty()) plan_.refused.push_back({folder, std::move(refusal)});
    return;
  }
  if (real)
    plan_.why.push_back("the working directory " + quoted_path(*real) + " is needed, because " + what + " lies in it");
  consider(folder, Role::kFolder, true, "the working directory");
}

void RootFinder::infer(const Command& command) {
  if (spec_.command.starts_with('/')) consider(spec_.command, Role::kProgram, true, "the command");
  if (command.folder.starts_with('/')) consider(command.folder, Role::kFolder, true, "the project option");
  if (command.script_path.starts_with('/')) consider(command.script_path, Role::kScript, true, "the script");
  if (spec_.cwd && spec_.cwd->starts_with('/')) start_in(*spec_.cwd, command);
  for (const std::string& package : command.packages) {
    if (package.starts_with('/')) consider(package, Role::kFolder, true, "the package");
  }
  struct Argument {
    FoundPath path;
    const std::string* text;
  };
  std::vector<Argument> folders;
  std::vector<Argument> files;
  for (const std::string& argument : spec_.args) {
    for (FoundPath& path : find_paths(argument)) {
      bool script = path.whole && is_script_name(path.path) && host_kind(path.path) == HostKind::kFile;
      if (script)
        consider(path.path, Role::kScript, true, "the argument " + quoted_path(argument));
      else
        (host_kind(path.path) == HostKind::kDirectory ? folders : files).push_back({std::move(path), &argument});
    }
  }
  // Folders first: a file in one of them needs no folder of its own.
  for (const auto* group : {&folders, &files}) {
    for (const Argument& argument : *group)
      consider(argument.path.path, Role::kData, argument.path.whole, "the argument " + quoted_path(*argument.text));
  }
}

void RootFinder::drop_covered() {
  auto inner = [&](const Named& candidate) {
    return std::any_of(found_.begin(), found_.end(), [&](const Named& other) {
      return &other != &candidate && other.root.mode == candidate.root.mode && other.root.host != candidate.root.host &&
             other.root.access == candidate.root.access && is_beneath(candidate.root.host, other.root.host);
    });
  };
  std::vector<Named> kept;
  for (const Named& candidate : found_) {
    if (inner(candidate))
      plan_.why.push_back(quoted_path(candidate.root.host) + " comes with the folder that it lies in");
    else
      kept.push_back(candidate);
  }
  found_ = std::move(kept);
}

// What is mounted in a folder that is copied.
void RootFinder::cover() {
  for (Named& copied : found_) {
    if (copied.root.mode != RootMode::kStage) continue;
    for (const Named& mounted : found_) {
      if (mounted.root.mode != RootMode::kBind || !is_beneath(mounted.root.mount, copied.root.mount)) continue;
      std::string below = relative_to(mounted.root.mount, copied.root.mount);
      if (below.empty()) continue;
      plan_.why.push_back(quoted_path(mounted.root.mount) + " is mounted, so nothing of it is copied with " +
                          quoted_path(copied.root.host));
      copied.root.covered.push_back(std::move(below));
    }
  }
}

// The place of every root in the sandbox.
void RootFinder::place() {
  auto staged = std::count_if(found_.begin(), found_.end(),
                              [](const Named& named) { return named.root.mode == RootMode::kStage; });
  std::set<std::string> used;
  for (Named& named : found_) {
    Root& root = named.root;
    if (policy_.same_paths || root.mode == RootMode::kBind) {
      // As the operator writes it, because the arguments, which stay as they are, say the same.
      root.mount = named.spelled.empty() ? root.host : named.spelled;
    } else if (staged == 1) {
      root.mount = policy_.workspace;
    } else {
      std::string base(base_name(root.host));
      std::string name = base;
      for (int number = 2; !used.insert(name).second; ++number) name = base + "-" + std::to_string(number);
      root.mount = join_path(policy_.workspace, name);
    }
  }
  cover();
  if (staged > 1 && !policy_.same_paths)
    plan_.why.emplace_back(
        "several folders go in side by side, each under its own name, and never the folder that they share");
}

void RootFinder::find(const Command& command) {
  if (spec_.host_path)
    name(*spec_.host_path, RootMode::kStage, spec_.host_path_mode, "is the folder that is named for the server");
  for (const std::string& path : spec_.more_stage)
    name(path, RootMode::kStage, spec_.host_path_mode, "is named to be staged");
  for (const MountRequest& mount : spec_.mounts) {
    name(mount.host, RootMode::kBind, mount.access,
         mount.access == Access::kReadOnly ? "is named to be mounted read-only" : "is named to be mounted for writing");
  }
  if (policy_.infer && !spec_.host_path) infer(command);
  drop_covered();
  place();
  for (const Named& named : found_) plan_.roots.push_back(named.root);
}

PathMap RootFinder::path_map() const {
  PathMap map;
  for (const Named& named : found_) map.add(named.root.host, named.spelled, named.root.mount);
  return map;
}

}  // namespace mcpbox::workspace
