// Part of install.h: what Python projects and tools need.
#include <algorithm>
#include <optional>
#include <set>

#include "base/setting_name.h"
#include "base/text.h"
#include "workspace/host_view.h"
#include "workspace/install.h"
#include "workspace/manifest_text.h"
#include "workspace/path_text.h"
#include "workspace/pinned.h"
#include "workspace/project.h"
#include "workspace/python_manifest.h"
#include "workspace/requirements.h"

namespace mcpbox::workspace {
namespace {

std::map<std::string, std::string> uv_environment(bool fetch_python) {
  std::map<std::string, std::string> env{{"UV_CACHE_DIR", at_base("cache/uv")},
                                         {"UV_LINK_MODE", "copy"},
                                         {"UV_NO_PROGRESS", "1"},
                                         {"UV_COMPILE_BYTECODE", "1"},
                                         {"UV_PYTHON_DOWNLOADS", fetch_python ? "automatic" : "never"}};
  // Beside the packages, so that the sealed environment carries its interpreter with it.
  if (fetch_python) env["UV_PYTHON_INSTALL_DIR"] = at_base("env/.python");
  return env;
}

// Collects what one environment gets and writes the steps.
class Environment {
 public:
  Environment(Draft& draft, const Site& site, std::string python) : draft_(draft), site_(site) {
    std::string own = "3." + std::to_string(site.policy.python_minor);
    if (python.starts_with('/')) python = python_version_of(base_name(python));
    if (python.starts_with("python")) python = python.substr(6);
    fetch_ = !python.empty() && python != "3" && python != own;
    python_ = fetch_ ? python : "/usr/bin/python3";
    if (fetch_)
      draft.why.push_back(
          "Python " + python + " is asked for and the sandbox has " + own +
          ", so the installation fetches it; where neither its own nor a host's Python is that one, this "
          "needs releases.astral.sh and github.com (" +
          std::string(setting_name("box.network.install_allow", "--install-allow")) + ")");
  }

  void require(std::string argument) { arguments_.push_back(std::move(argument)); }
  void flag(std::string argument) { flags_.push_back(std::move(argument)); }
  // Everything that was required so far is named exactly, and no hashes say so to uv: nothing else may come with it.
  void exact() { exact_ = true; }

  void add_venv_step() {
    draft_.plan.manager = "uv";
    step("create the environment with " + std::string(fetch_ ? "Python " + python_ : "the sandbox's Python"),
         {"uv", "venv", "--quiet", "--allow-existing", "--python", python_, at_base("env")});
  }
  void add_sync_step(const std::string& folder, bool install_project, const std::vector<std::string>& flags) {
    std::vector<std::string> argv{
        "uv",        "sync", "--frozen", "--no-dev", "--no-editable", "--python", at_base("env/bin/python"),
        "--project", folder};
    if (!install_project) argv.emplace_back("--no-install-project");
    argv.insert(argv.end(), flags.begin(), flags.end());
    step("install what uv.lock names", std::move(argv)).env["UV_PROJECT_ENVIRONMENT"] = at_base("env");
  }
  // setup.cfg alone was a project for pip's old way of building; uv wants one of the other two files.
  void add_setup_step(const std::string& folder) {
    setup_step_ = InstallStep{
        "give the project the setup.py that its setup.cfg needs",
        {"/usr/bin/python3", "-c",
         "import sys; open(sys.argv[1], 'x').write('from setuptools import setup\\nsetup()\\n')", folder + "/setup.py"},
        {},
        at_base("tmp")};
  }
  void add_install_step(const std::string& title) {
    if (arguments_.empty()) return;
    if (setup_step_) draft_.plan.steps.push_back(*setup_step_);
    std::vector<std::string> argv{
        "uv", "pip", "install", "--python", at_base("env/bin/python"), "--compile-bytecode", "--link-mode", "copy"};
    const bool alone = exact_ && site_.policy.locked;
    if (alone) argv.emplace_back("--no-deps");
    argv.insert(argv.end(), flags_.begin(), flags_.end());
    argv.insert(argv.end(), arguments_.begin(), arguments_.end());
    step(title, std::move(argv));
    if (alone) step("check that nothing is missing", {"uv", "pip", "check", "--python", at_base("env/bin/python")});
  }
  void finish() {
    draft_.needed = true;
    draft_.fingerprints.push_back("python " + python_ + " " + std::to_string(site_.policy.python_minor));
    draft_.env["VIRTUAL_ENV"] = at_base("env");
    draft_.path_prefix.push_back(at_base("env/bin"));
  }

 private:
  InstallStep& step(std::string title, std::vector<std::string> argv) {
    draft_.plan.steps.push_back({std::move(title), std::move(argv), uv_environment(fetch_), at_base("tmp")});
    return draft_.plan.steps.back();
  }

  Draft& draft_;
  const Site& site_;
  std::string python_;
  bool fetch_ = false;
  bool exact_ = false;
  std::optional<InstallStep> setup_step_;
  std::vector<std::string> arguments_;
  std::vector<std::string> flags_;
};

void input(Draft& draft, const std::string& relative, std::string content) {
  std::string path = at_base("tmp/in/" + relative);
  for (const InstallInput& known : draft.plan.inputs) {
    if (known.path == path) return;
  }
  draft.plan.inputs.push_back({path, std::move(content)});
}

// The text of a manifest, noted as read; nullopt and a refusal when it cannot be read.
std::optional<std::string> manifest(Draft& draft, const Site& site, const std::string& path,
                                    std::size_t limit = kMaxManifest) {
  auto text = site.text(draft, path, limit);
  if (text) draft.plan.manifests.push_back(path);
  return text;
}

// What a manifest's text says; nullopt and a refusal when that cannot be understood.
template <class T>
std::optional<T> understood(Draft& draft, const std::string& path, Result<T> read) {
  if (read) return std::move(*read);
  draft.refused.push_back({path, read.error().message()});
  return std::nullopt;
}

void use_requirements(Draft& draft, const Site& site, Environment& environment, const std::string& file,
                      std::string_view option) {
  auto collected = collect_requirements(draft, site, file);
  if (!collected) return;
  environment.require(std::string(option));
  environment.require(collected->path);
  if (collected->any_hash) {
    environment.flag("--require-hashes");
  } else if (collected->inexact.empty()) {
    environment.exact();
  } else {
    draft.unpinned.push_back(
        {file, "it names no exact version of " + join(collected->inexact, ", ") +
                   "; write name==version for everything, or make it with `uv pip compile --generate-hashes`"});
  }
}

// Of a manifest that names requirements itself.
void require_exact(Draft& draft, Environment& environment, const std::string& file,
                   const std::vector<std::string>& requirements, bool constrained) {
  if (constrained) return;
  const std::vector<std::string> inexact = inexact_requirements(requirements);
  if (inexact.empty()) {
    environment.exact();
  } else {
    draft.unpinned.push_back({file, "it names no exact version of " + join(inexact, ", ") +
                                        "; write name==version, or make a lock file with `uv lock`"});
  }
}

// The project in `folder`, whose pyproject.toml (if there is one) says `facts`. False when its manifests ask for
// nothing, or are refused.
bool plan_folder(Draft& draft, const Site& site, const Command& command, const std::string& folder,
                 Environment& environment, const ProjectFacts& facts, const std::optional<std::string>& pyproject) {
  const Root* root = site.root_of(folder);
  bool requirements = site.has(draft, folder, "requirements.txt");
  bool setup = site.has(draft, folder, "setup.py");
  bool setup_cfg = false;
  if (!setup && site.has(draft, folder, "setup.cfg")) {
    auto text = site.text(draft, join_path(folder, "setup.cfg"), kMaxManifest);
    setup_cfg = text && (text->find("[metadata]") != std::string::npos || text->find("[options]") != std::string::npos);
  }
  auto sources = [&] {
    add_source(draft, site, root->host, at_base("tmp/src"));
    return join_path(at_base("tmp/src"), relative_to(folder, root->host));
  };

  std::string lock_folder = folder;
  if (!site.has(draft, folder, "uv.lock"))
    lock_folder = workspace_above(site.files, folder, root->host, site.within(folder)).value_or(folder);
  if (pyproject && site.has(draft, lock_folder, "uv.lock")) {
    const std::string lock_path = join_path(lock_folder, "uv.lock");
    auto lock = manifest(draft, site, lock_path, kMaxLock);
    if (!lock) return false;
    bool package = facts.has_build_system && !facts.no_package;
    bool local = package || lock_folder != folder || facts.has_workspace || facts.has_local_sources;
    if (!local) {
      const auto folders = understood(draft, lock_path, lock_names_folders(*lock));
      if (!folders) return false;
      local = *folders;
    }
    std::vector<std::string> flags;
    for (const std::string& flag : command.installer_flags) {
      if (flag.starts_with("--extra") || flag.starts_with("--group") || flag.starts_with("--all-"))
        flags.push_back(flag);
    }
    environment.add_venv_step();
    if (local) {
      environment.add_sync_step(sources(), package, flags);
    } else {
      input(draft, "pyproject.toml", *pyproject);
      input(draft, "uv.lock", std::move(*lock));
      environment.add_sync_step(at_base("tmp/in"), false, flags);
    }
    draft.why.push_back("uv.lock pins every package, so exactly these are installed");
    return true;
  }

  bool poetry_lock = site.has(draft, folder, "poetry.lock") && (facts.has_poetry || facts.has_project);
  bool only_pins =
      poetry_lock && facts.has_poetry && (facts.no_package || (!facts.has_build_system && !facts.has_project));
  bool package = !only_pins && !facts.no_package &&
                 (facts.has_build_system || facts.dynamic_dependencies || (facts.has_poetry && !facts.has_project) ||
                  setup || setup_cfg);
  bool anything = false;
  if (poetry_lock) {
    const std::string lock_path = join_path(folder, "poetry.lock");
    const auto lock = manifest(draft, site, lock_path, kMaxLock);
    const auto pinned = lock ? understood(draft, lock_path, poetry_pins(*lock)) : std::nullopt;
    if (!pinned) return false;
    std::string pins;
    for (const std::string& pin : *pinned) pins += pin + "\n";
    input(draft, "poetry-pins.txt", pins);
    environment.require(only_pins ? "-r" : "-c");
    environment.require(at_base("tmp/in/poetry-pins.txt"));
    draft.why.emplace_back("poetry.lock pins the versions");
    anything = only_pins;
  }
  if (package) {
    std::string extras;
    for (const std::string& flag : command.installer_flags) {
      if (flag.starts_with("--extra=")) extras += (extras.empty() ? "" : ",") + flag.substr(8);
    }
    if (!poetry_lock)
      draft.unpinned.push_back(
          {folder, "it is built as a package, and no lock file pins what it needs; make one with `uv lock`"});
    std::string place = sources();
    if (setup_cfg && !pyproject) environment.add_setup_step(place);
    environment.require(place + (extras.empty() ? "" : "[" + extras + "]"));
    draft.why.push_back(
        "'" + folder +
        "' is a Python package, so it is built and installed together with what it needs; an edit installs it anew");
    anything = true;
  } else if (pyproject && facts.has_project && !facts.dependencies.empty()) {
    input(draft, "pyproject.toml", *pyproject);
    require_exact(draft, environment, join_path(folder, "pyproject.toml"), facts.dependencies, poetry_lock);
    environment.require("-r");
    environment.require(at_base("tmp/in/pyproject.toml"));
    draft.why.emplace_back(
        "pyproject.toml has no [build-system], so only the dependencies that it names are installed");
    anything = true;
  }
  if (requirements) {
    use_requirements(draft, site, environment, join_path(folder, "requirements.txt"), "-r");
    anything = true;
  }
  if (!anything) return false;
  environment.add_venv_step();
  return true;
}

// The file that `written` names: an absolute host path, or one relative to the folder where the command starts.
std::string script_file(const Command& command, const Site& site) {
  if (command.script_path.empty()) return {};
  if (command.script_path.starts_with('/')) return canonical(command.script_path).value_or("");
  return site.project_start.empty() ? std::string()
                                    : canonical(join_path(site.project_start, command.script_path)).value_or("");
}

void add_with(Draft& draft, const Site& site, const Command& command, Environment& environment) {
  for (const std::string& file : command.requirement_files) {
    std::string path = file.starts_with('/') || site.project_start.empty() ? file : join_path(site.project_start, file);
    use_requirements(draft, site, environment, path, "-r");
  }
  for (const std::string& package : command.with) {
    if (!is_exact_requirement(package))
      draft.unpinned.push_back({package, "--with names no exact version; write " + package + "==VERSION"});
    environment.require(package);
  }
  for (const std::string& flag : command.installer_flags) {
    if (!flag.starts_with("--extra=") && !flag.starts_with("--group") && !flag.starts_with("--all-"))
      environment.flag(flag);
  }
}

}  // namespace

Draft plan_python_project(const Command& command, const Site& site) {
  Draft draft;
  std::optional<std::string> folder;
  if (!site.project_start.empty()) {
    if (const Root* root = site.root_of(site.project_start))
      folder = nearest_project(site.project_start, root->host, Language::kPython);
  }
  // uv takes a script's own header instead of the project around it; an interpreter knows no headers, but where no
  // manifest says anything, the header is all that can be meant.
  std::string script = script_file(command, site);
  std::optional<std::string> header;
  if (!script.empty() && site.root_of(script) != nullptr && (command.kind == Command::Kind::kPythonRun || !folder)) {
    if (auto text = site.files.text(site.within(script), script, kMaxManifest)) header = script_header(*text);
  }
  if (header) folder.reset();

  std::optional<ProjectFacts> facts = ProjectFacts{};
  std::optional<std::string> pyproject;
  if (folder && site.has(draft, *folder, "pyproject.toml")) {
    const std::string path = join_path(*folder, "pyproject.toml");
    pyproject = manifest(draft, site, path);
    facts = pyproject ? understood(draft, path, read_project(*pyproject)) : std::nullopt;
  } else if (header) {
    facts = understood(draft, script, read_project(*header));
    draft.plan.manifests.push_back(script);
  }
  if (!facts) return draft;
  std::string python = command.python;
  if (python.empty() && folder && command.kind == Command::Kind::kPythonRun &&
      site.has(draft, *folder, ".python-version")) {
    if (auto text = site.text(draft, join_path(*folder, ".python-version"), 4096))
      python = std::string(trim(std::string_view(*text).substr(0, text->find('\n'))));
  }
  if (python.empty()) python = python_for(facts->requires_python, site.policy.python_minor);
  Environment environment(draft, site, python);

  bool planned = false;
  if (header) {
    std::string text;
    for (const std::string& dependency : facts->dependencies) text += dependency + "\n";
    environment.add_venv_step();
    require_exact(draft, environment, script, facts->dependencies, false);
    if (!text.empty()) {
      input(draft, "script-requirements.txt", text);
      environment.require("-r");
      environment.require(at_base("tmp/in/script-requirements.txt"));
    }
    draft.why.push_back("the header of '" + script + "' (PEP 723) names what it needs");
    planned = true;
  } else if (folder) {
    planned = plan_folder(draft, site, command, *folder, environment, *facts, pyproject);
  }
  if (!planned && (!command.with.empty() || !command.requirement_files.empty())) {
    environment.add_venv_step();
    planned = true;
  }
  if (!planned) return draft;
  add_with(draft, site, command, environment);
  environment.add_install_step(header ? "install what the script's header names with uv"
                                      : "install the project's requirements with uv");
  environment.finish();
  return draft;
}

Draft plan_python_tool(const Command& command, const Site& site) {
  Draft draft;
  Environment environment(draft, site, command.python);
  environment.add_venv_step();
  for (const std::string& package : command.packages) {
    std::string path = package.substr(0, package.find('['));
    if (!path.starts_with('/') && !path.starts_with("./") && !path.starts_with("../") && path != ".") {
      if (!is_exact_requirement(package)) {
        draft.unpinned.push_back(
            {package, "it names no exact version; write " + python_name_of(package) + "==VERSION"});
      }
      environment.require(package);
      continue;
    }
    // `uvx --from /project cmd`: built from the folder, which has to be a root.
    auto real = canonical(path.starts_with('/') ? path : join_path(site.start, path));
    const Root* root = real ? site.root_of(*real) : nullptr;
    if (root == nullptr) {
      draft.refused.push_back({package, "this package is on the host and not in a folder that goes into the sandbox"});
      continue;
    }
    add_source(draft, site, root->host, at_base("tmp/src"));
    draft.unpinned.push_back({*real, "it is built as a package, and nothing pins what it needs"});
    environment.require(join_path(at_base("tmp/src"), relative_to(*real, root->host)) + package.substr(path.size()));
    draft.plan.manifests.push_back(*real);
  }
  add_with(draft, site, command, environment);
  environment.add_install_step("install " + join(command.packages, ", ") + " with uv");
  environment.finish();
  draft.plan.asked = command.packages;
  draft.plan.asked.insert(draft.plan.asked.end(), command.with.begin(), command.with.end());
  draft.argv = {at_base("env/bin/" + command.executable)};
  draft.argv.insert(draft.argv.end(), command.args.begin(), command.args.end());
  draft.why.push_back("'" + command.executable + "' is installed once from " + join(command.packages, ", ") +
                      " and then started without a package index");
  return draft;
}

}  // namespace mcpbox::workspace
