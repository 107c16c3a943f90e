#include "workspace/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "base/digest.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "workspace/folder_reader.h"
#include "workspace/host_view.h"
#include "workspace/install.h"
#include "workspace/needed_folder.h"
#include "workspace/path_text.h"
#include "workspace/project.h"
#include "workspace/roots.h"

namespace mcpbox::workspace {
namespace {

constexpr std::string_view kPlannerVersion =
    "3";                      // part of every hash: raise it when the same plan would install something else
constexpr int kAttempts = 3;  // at a folder that changes meanwhile

Result<void> check(const LaunchSpec& spec) {
  auto bad = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (trim(spec.command).empty())
    return fail(Code::kInvalidArgument, "server '" + printable(spec.name) + "' has no command");
  std::vector<std::string> paths = spec.more_stage;
  for (const MountRequest& mount : spec.mounts) paths.push_back(mount.host);
  if (spec.host_path) paths.push_back(*spec.host_path);
  if (spec.cwd) paths.push_back(*spec.cwd);
  for (const std::string& path : paths) {
    if (!path.starts_with('/'))
      return fail(Code::kInvalidArgument, quoted_path(path) + " is not an absolute path; write the whole path");
    if (bad(path)) return fail(Code::kInvalidArgument, quoted_path(path) + " has a NUL byte");
  }
  if (bad(spec.command) || std::any_of(spec.args.begin(), spec.args.end(), bad))
    return fail(Code::kInvalidArgument, "the command line has a NUL byte");
  for (const auto& [name, value] : spec.env) {
    if (name.empty() || name.find('=') != std::string::npos || bad(name) || bad(value)) {
      return fail(Code::kInvalidArgument, "the variable '" + printable(name) + "' cannot be part of an environment");
    }
  }
  return {};
}

class Planner {
 public:
  Planner(const LaunchSpec& spec, const Policy& policy)
      : spec_(spec), policy_(policy), finder_(spec, policy, plan_, files_) {}

  // kAborted: the folders changed meanwhile, so the plan would speak of what is not there.
  Result<Plan> run();

 private:
  void choose_directories();
  Draft draft();
  void command_line(const Draft& draft);
  std::string program(const Draft& draft);
  void environment(const Draft& draft);
  void script_in_place();
  void compare(Draft& draft) const;
  void install(Draft draft);
  void hints();
  std::string argument(const std::string& text) const;
  std::string host_directory_of(const std::string& file) const;
  bool is_covered(const std::string& path) const { return map_.map(path).has_value(); }

  const LaunchSpec& spec_;
  const Policy& policy_;
  Plan plan_;
  FolderReader files_;
  RootFinder finder_;
  PathMap map_;
  Command command_;
  std::string start_;  // host folder where the program starts; empty when that is no host folder
  std::optional<VenvProgram> venv_;
};

// The host folder in which the program starts, and the same in the sandbox.
void Planner::choose_directories() {
  auto staged = std::find_if(plan_.roots.begin(), plan_.roots.end(),
                             [](const Root& root) { return root.mode == RootMode::kStage; });
  std::string wanted = spec_.cwd.value_or("");
  if (command_.changes_directory && !command_.folder.empty()) {
    wanted = command_.folder.starts_with('/')
                 ? command_.folder
                 : join_path(wanted.empty() && staged != plan_.roots.end() ? staged->host : wanted, command_.folder);
    plan_.why.push_back("the command asks to start in " + quoted_path(wanted));
  }
  if (auto mapped = wanted.starts_with('/') ? map_.map(wanted) : std::nullopt) {
    plan_.cwd = *mapped;
    start_ = canonical_prefix(wanted);
    return;
  }
  if (!wanted.empty() && wanted.starts_with('/')) {
    if (is_system_path(wanted) ||
        (host_kind(wanted) == HostKind::kNothing && is_beneath(normalise(wanted), "/workspace"))) {
      plan_.cwd = normalise(wanted);
      return;
    }
    bool exists = host_kind(wanted) != HostKind::kNothing;
    bool told = std::any_of(plan_.refused.begin(), plan_.refused.end(),
                            [&](const Refusal& refusal) { return refusal.path == wanted; });
    if (!exists && !told)
      plan_.refused.push_back({wanted, "the working directory does not exist on this host"});
    else if (!told && policy_.infer && !spec_.host_path)
      plan_.hints.push_back("nothing of the working directory " + quoted_path(wanted) +
                            " is in the sandbox, because the command names nothing in it; box.host_path: " +
                            printable(wanted, 512) + " has it copied, box.mounts shows the folder itself");
    else if (!told)
      plan_.hints.push_back("the working directory " + quoted_path(wanted) + " is not in the sandbox; add " +
                            std::string(setting_name("it to the server's mounts", "--stage or --mount with it")));
  }
  if (staged != plan_.roots.end()) {
    plan_.cwd = staged->mount;
    start_ = staged->host;
  } else if (!plan_.roots.empty()) {
    plan_.cwd = plan_.roots.front().mount;
    start_ = plan_.roots.front().host;
  } else {
    plan_.cwd = policy_.workspace;
  }
}

// The canonical folder that a file of the command line lies in; empty when it cannot be said.
std::string Planner::host_directory_of(const std::string& file) const {
  if (file.empty()) return {};
  std::string path = file.starts_with('/') ? file : start_.empty() ? std::string() : join_path(start_, file);
  auto real = path.empty() ? std::nullopt : canonical(path);
  return real ? parent_of(*real) : std::string();
}

Draft Planner::draft() {
  Site site{policy_, plan_.roots, files_, start_, start_};
  if (!command_.folder.empty()) {
    std::string folder = command_.folder.starts_with('/')               ? command_.folder
                         : start_.empty() || command_.changes_directory ? start_
                                                                        : join_path(start_, command_.folder);
    if (auto real = canonical(folder)) site.project_start = *real;
  } else if (venv_ && !venv_->project.empty()) {
    site.project_start = canonical_prefix(venv_->project);
  } else if (std::string folder = host_directory_of(command_.script_path);
             !folder.empty() && command_.kind != Command::Kind::kPythonRun) {
    site.project_start = folder;
  } else if (command_.kind == Command::Kind::kOther && spec_.command.find('/') != std::string::npos) {
    if (std::string beside = host_directory_of(spec_.command); !beside.empty()) site.project_start = beside;
  }
  switch (command_.kind) {
    case Command::Kind::kPython:
    case Command::Kind::kPythonRun:
      return plan_python_project(command_, site);
    case Command::Kind::kPythonTool:
      return plan_python_tool(command_, site);
    case Command::Kind::kNode:
    case Command::Kind::kNodeRunner:
      return plan_node_project(command_, site);
    case Command::Kind::kNpmPackage: {
      // Only a script among the arguments makes the package a runner for a project.
      auto script = std::find_if(command_.args.begin(), command_.args.end(),
                                 [](const std::string& argument) { return is_script_name(argument); });
      site.project_start = script == command_.args.end() ? std::string() : host_directory_of(*script);
      return plan_npm_package(command_, site);
    }
    case Command::Kind::kOther:
      break;
  }
  if (venv_) return plan_python_project(command_, site);
  // A bare name, or a script that brings its interpreter: whatever the project has may be what it needs.
  if (spec_.command.starts_with('/') && !is_covered(spec_.command)) return {};
  Draft python = plan_python_project(command_, site);
  return python.needed || !python.refused.empty() ? std::move(python) : plan_node_project(command_, site);
}

// argv[0] for everything that is not a package runner.
std::string Planner::program(const Draft& draft) {
  const std::string& written = command_.program;
  std::string environment_bin = std::string(kBase) + "/env/bin/";
  if (command_.kind == Command::Kind::kPython && draft.needed) return environment_bin + "python";
  if (venv_) {
    if (draft.needed) return environment_bin + (venv_->interpreter ? "python" : venv_->program);
    if (venv_->interpreter) {
      plan_.hints.push_back(
          "the packages in " + quoted_path(venv_->environment) +
          " are not in the sandbox, and no requirements.txt or pyproject.toml says what they are; add one beside it");
      return "python3";
    }
    plan_.refused.push_back({written,
                             "it is in a virtual environment of this host, and no requirements.txt or pyproject.toml "
                             "says what to install instead; add one to the project"});
    return written;
  }
  if (written == "python") return "python3";  // Debian's images have no program of the first name, all others have both
  if (!written.starts_with('/')) return written;
  if (auto mapped = map_.map(written)) return *mapped;
  if (is_beneath(normalise(written), "/usr") || is_beneath(normalise(written), "/bin")) return written;
  if (is_runtime_name(base_name(written))) {
    std::string name(base_name(written));
    if (name == "python") name = "python3";
    plan_.why.push_back(quoted_path(written) + " is this host's interpreter; the sandbox starts its own " + name);
    return name;
  }
  return written;
}

// A relative argument that lies in a mounted folder means the mount, wherever the program starts. One that lies in a
// copied folder means the copy, if it was typed elsewhere and the folder where the program starts has no such file.
std::string Planner::argument(const std::string& text) const {
  const std::optional<std::string>& from = spec_.typed_in ? spec_.typed_in : spec_.cwd;
  const std::size_t value_at = text.starts_with('-') ? std::min(text.find('='), text.size() - 1) + 1 : 0;
  const std::string value = text.substr(value_at);
  if (!from || !from->starts_with('/') || !may_be_relative(value)) return map_.rewrite(text);
  const std::string named = normalise(join_path(*from, value));
  if (host_kind(named) == HostKind::kNothing) return map_.rewrite(text);
  const std::string real = canonical_prefix(named);
  const Root* in = nullptr;
  for (const Root& root : plan_.roots) {
    if (is_beneath(real, root.host) && (in == nullptr || root.host.size() > in->host.size())) in = &root;
  }
  if (in == nullptr) return map_.rewrite(text);
  if (in->mode != RootMode::kBind) {
    const bool here = start_.empty() || host_kind(normalise(join_path(start_, value))) != HostKind::kNothing;
    if (!spec_.typed_in || here) return map_.rewrite(text);
  }
  const std::string there = join_path(in->mount, relative_to(real, in->host));
  return normalise(join_path(plan_.cwd, value)) == there ? text : text.substr(0, value_at) + there;
}

void Planner::command_line(const Draft& draft) {
  std::vector<std::string> argv = draft.argv;
  if (!argv.empty()) {
    for (std::size_t i = 1; i < argv.size(); ++i) argv[i] = argument(argv[i]);
  } else if (command_.kind == Command::Kind::kPythonRun) {
    std::string bin = draft.needed ? std::string(kBase) + "/env/bin/" : std::string();
    std::string python = draft.needed ? bin + "python" : "python3";
    if (command_.module)
      argv = {python, "-m", command_.executable};
    else if (command_.script)
      argv = {python, map_.rewrite(command_.executable)};
    else if (is_python_name(command_.executable))
      argv = {python};
    else if (command_.executable.find('/') != std::string::npos)
      argv = {map_.rewrite(command_.executable)};
    else
      argv = {bin + command_.executable};
    for (const std::string& word : command_.args) argv.push_back(argument(word));
    plan_.why.push_back(draft.needed ? "the program is started from the installed environment, not by " +
                                           std::string(base_name(command_.program))
                                     : "there is no project to install, so the program is started directly");
  } else {
    argv.push_back(program(draft));
    for (const std::string& word : command_.args) argv.push_back(argument(word));
  }
  plan_.argv = std::move(argv);
  for (const std::string& option : command_.dropped)
    plan_.why.push_back("the option " + quoted_path(option) + " means nothing in a sandbox and is left out");
}

void Planner::environment(const Draft& draft) {
  for (const auto& [name, value] : spec_.env) plan_.env[name] = map_.rewrite(value);
  for (const auto& [name, value] : draft.env) plan_.env[name] = value;
  plan_.path_prefix = draft.path_prefix;
}

// Gives the installation its hash, and every path that waits for it its place.
void Planner::install(Draft draft) {
  if (!draft.needed) return;
  InstallPlan& plan = draft.plan;
  if (!draft.link_into.empty()) {
    Site site{policy_, plan_.roots, files_, {}, {}};
    auto root = std::find_if(plan_.roots.begin(), plan_.roots.end(),
                             [&](const Root& candidate) { return &candidate == site.root_of(draft.link_into); });
    if (root != plan_.roots.end() && root->mode == RootMode::kStage) {
      std::string below = relative_to(draft.link_into, root->host);
      root->links.push_back(
          {below.empty() ? "node_modules" : below + "/node_modules", std::string(kBase) + "/env/node_modules"});
    } else {
      plan_.env["NODE_PATH"] = std::string(kBase) + "/env/node_modules";
      plan_.why.emplace_back(
          "the project is mounted and not copied, so its packages are found by NODE_PATH: CommonJS modules see them, "
          "ES modules do not; stage it instead");
    }
  }
  Sha256 digest;
  auto field = [&](std::string_view text) {
    digest.update(std::to_string(text.size()) + ":");
    digest.update(text);
  };
  field(kPlannerVersion);
  field(policy_.image_id);
  field(policy_.platform);
  field(std::to_string(policy_.origin.size()));
  for (const std::string& origin : policy_.origin) field(origin);
  field(plan.manager);
  // The record of an environment says which program its package starts.
  field(plan.program.kind == Program::Kind::kNpmBin ? "npm bin" : "");
  field(plan.program.package);
  field(plan.program.bin_name);
  for (const InstallStep& step : plan.steps) {
    field(std::to_string(step.argv.size()));
    for (const std::string& word : step.argv) field(word);
    for (const auto& [name, value] : step.env) field(name + "=" + value);
    field(step.cwd);
  }
  std::sort(plan.inputs.begin(), plan.inputs.end(),
            [](const InstallInput& a, const InstallInput& b) { return a.path < b.path; });
  for (const InstallInput& input : plan.inputs) {
    field(input.path);
    field(input.content);
  }
  for (const std::string& fingerprint : draft.fingerprints) field(fingerprint);
  plan.hash = plan.asked_hash = digest.hex().substr(0, 32);
  if (auto salt = policy_.refreshed.find(plan.asked_hash); salt != policy_.refreshed.end()) {
    plan.hash = sha256_hex(plan.asked_hash + " " + salt->second).substr(0, 32);
    plan_.why.emplace_back("`mcpbox env refresh` asked for it, so the versions are resolved anew, once");
  }
  if (plan.asked.empty()) plan.asked = plan.manifests;
  if (policy_.locked) {
    for (Refusal& missing : draft.unpinned) plan_.refused.push_back(std::move(missing));
  }

  std::string base = join_path(policy_.cache, plan.hash);
  auto settle = [&](std::string& text) {
    for (std::size_t at = text.find(kBase); at != std::string::npos; at = text.find(kBase, at + base.size()))
      text.replace(at, kBase.size(), base);
  };
  plan.environment = base + "/env";
  for (InstallStep& step : plan.steps) {
    for (std::string& word : step.argv) settle(word);
    for (auto& [name, value] : step.env) settle(value);
    settle(step.cwd);
  }
  for (InstallInput& input : plan.inputs) {
    settle(input.path);
    settle(input.content);
  }
  for (InstallSource& source : plan.sources) settle(source.path);
  for (std::string& word : plan_.argv) settle(word);
  for (auto& [name, value] : plan_.env) settle(value);
  for (std::string& folder : plan_.path_prefix) settle(folder);
  for (Root& root : plan_.roots) {
    for (Root::Link& link : root.links) settle(link.target);
  }
  plan_.install = std::move(plan);
}

// What exists here, is spoken of, and will not be there.
void Planner::hints() {
  auto missing = [&](const std::string& path, const std::string& shown) {
    HostKind kind = host_kind(path);
    if (kind == HostKind::kNothing || is_system_path(normalise(path)) || is_covered(path)) return;
    auto told = [&](const Refusal& refusal) { return refusal.path == path; };
    if (std::any_of(plan_.refused.begin(), plan_.refused.end(), told)) return;
    std::string folder = kind == HostKind::kDirectory ? normalise(path) : parent_of(normalise(path));
    std::string hint = quoted_path(shown) + " exists on this host and is not in the sandbox";
    std::string denied = DeniedPlaces(policy_.denied, policy_.home).refuse_root(canonical_prefix(folder));
    if (!denied.empty())
      hint += ": " + denied;
    else if (policy_.infer)
      hint += "; add " + quoted_path(folder) + " to the server's mounts";
    else
      hint += fmt::format("; add --mount {0} (read-only), --mount {0}:rw or --stage {0}", printable(folder, 512));
    if (std::find(plan_.hints.begin(), plan_.hints.end(), hint) == plan_.hints.end()) plan_.hints.push_back(hint);
  };
  if (policy_.infer && !spec_.host_path) return;  // inference has judged every path
  // Relative words were written where the server's folder is, or where somebody typed them.
  const std::optional<std::string>& from = spec_.cwd ? spec_.cwd : spec_.typed_in;
  const auto relative = [&](const std::string& word) {
    if (from && !is_covered(*from)) missing(normalise(join_path(*from, word)), word);
  };
  if (spec_.command.find('/') != std::string::npos && !is_runtime_name(base_name(spec_.command)) && !venv_) {
    if (spec_.command.starts_with('/')) {
      missing(spec_.command, spec_.command);
    } else {
      relative(spec_.command);
    }
  }
  for (const std::string& argument : spec_.args) {
    for (const FoundPath& found : find_paths(argument)) missing(found.path, found.path);
    if (argument.starts_with('/') || argument.starts_with('-') || argument.find("://") != std::string::npos) continue;
    if (argument.starts_with("./") || argument.starts_with("../") || is_script_name(argument)) relative(argument);
  }
  for (const auto& [name, value] : spec_.env) {
    if (name == "PATH" || name == "HOME" || name == "PWD" || name == "TMPDIR") continue;
    for (const FoundPath& found : find_paths(value)) missing(found.path, found.path);
  }
}

// A link out of a folder that is copied stays behind, so what it names would not be there.
void Planner::script_in_place() {
  const std::string& written = command_.script_path;
  if (written.empty() || (!written.starts_with('/') && start_.empty())) return;
  const std::string path = normalise(written.starts_with('/') ? written : join_path(start_, written));
  const Site site{policy_, plan_.roots, files_, {}, {}};
  const Root* root = site.root_of(path);
  if (root == nullptr || root->mode != RootMode::kStage) return;
  FolderReader::Look seen = files_.look(site.within(path), path);
  if (seen.kind == FolderReader::Kind::kLeaves) plan_.refused.push_back({path, std::move(seen.why)});
}

// A folder that goes to the installer as a whole has the very manifests that were judged.
void Planner::compare(Draft& draft) const {
  for (const auto& [host, contents] : draft.contents) {
    for (const FolderReader::Read& read : files_.reads()) {
      if (!is_beneath(read.path, host) || !is_beneath(read.real, host)) continue;
      const std::string sent = contents.behind_links(relative_to(read.path, host));
      const auto file = contents.files.find(sent);
      if (file == contents.files.end()) continue;  // it stays behind
      if (sent != relative_to(read.real, host) || file->second != sha256_hex(read.text))
        draft.changed = quoted_path(read.path) + " changed while it was read";
    }
  }
}

Result<Plan> Planner::run() {
  command_ = parse_command(spec_.command, spec_.args);
  finder_.find(command_);
  map_ = finder_.path_map();
  choose_directories();
  std::string full = spec_.command.starts_with('/') ? spec_.command
                     : spec_.command.find('/') != std::string::npos && !start_.empty()
                         ? join_path(start_, spec_.command)
                         : std::string();
  if (!full.empty()) venv_ = venv_program(normalise(full));
  if (!command_.unsupported.empty()) {
    plan_.refused.push_back({command_.program, command_.unsupported});
    plan_.argv = {spec_.command};
    for (const std::string& argument : spec_.args) plan_.argv.push_back(map_.rewrite(argument));
    environment({});
    return std::move(plan_);
  }
  script_in_place();
  Draft drafted = draft();
  compare(drafted);
  if (!drafted.changed.empty())
    return fail(Code::kAborted, drafted.changed + "; start over when the project's folder is at rest");
  plan_.why.insert(plan_.why.end(), drafted.why.begin(), drafted.why.end());
  plan_.hints.insert(plan_.hints.end(), drafted.hints.begin(), drafted.hints.end());
  plan_.refused.insert(plan_.refused.end(), drafted.refused.begin(), drafted.refused.end());
  command_line(drafted);
  environment(drafted);
  hints();
  install(std::move(drafted));
  if (plan_.roots.empty()) plan_.why.emplace_back("the command line speaks of no folder of this host, so none goes in");
  return std::move(plan_);
}

}  // namespace

Result<Plan> make_plan(const LaunchSpec& spec, const Policy& policy) {
  if (auto fine = check(spec); !fine) return fail(fine.error());
  for (int attempt = 1;; ++attempt) {
    auto plan = Planner(spec, policy).run();
    if (plan || plan.error().code() != Code::kAborted || attempt == kAttempts) return plan;
  }
}

}  // namespace mcpbox::workspace
