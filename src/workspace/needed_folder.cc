#include "workspace/needed_folder.h"

#include <algorithm>
#include <vector>

#include "workspace/host_view.h"
#include "workspace/path_text.h"
#include "workspace/project.h"

namespace mcpbox::workspace {
namespace {

bool is_mounted(const std::string& path, const std::vector<MountRequest>& mounts) {
  const std::string real = canonical_prefix(path);
  return std::ranges::any_of(mounts,
                             [&](const MountRequest& mount) { return is_beneath(real, canonical_prefix(mount.host)); });
}

// "a.b.c" of `-m a.b.c`; empty without -m.
std::string module_of(const std::vector<std::string>& args) {
  const auto option = std::ranges::find(args, "-m");
  if (option == args.end() || option + 1 == args.end()) return {};
  return option[1].substr(0, option[1].find('.'));
}

}  // namespace

bool may_be_relative(std::string_view text) {
  return !text.empty() && text.front() != '/' && text.front() != '-' && text.find("://") == std::string_view::npos &&
         text.find('\0') == std::string_view::npos && !looks_like_windows(text);
}

std::string needed_in(const std::string& folder, const std::string& limit, const LaunchSpec& spec,
                      const Command& command) {
  const auto lies_here = [&](std::string_view text) {
    if (!may_be_relative(text)) return false;
    const std::string path = join_path(folder, text);
    return host_kind(path) != HostKind::kNothing && !is_mounted(path, spec.mounts);
  };
  const auto is_mounted_here = [&](std::string_view text) { return is_mounted(join_path(folder, text), spec.mounts); };
  if (spec.command.find('/') != std::string::npos && may_be_relative(spec.command) && !is_mounted_here(spec.command))
    return "the command " + quoted_path(spec.command);
  if (may_be_relative(command.folder) && !is_mounted_here(command.folder))
    return "the project option " + quoted_path(command.folder);
  if (may_be_relative(command.script_path) && !is_mounted_here(command.script_path))
    return "the script " + quoted_path(command.script_path);
  for (const auto* words : {&command.packages, &command.with, &command.requirement_files, &command.args}) {
    for (const std::string& word : *words) {
      const bool option = word.starts_with('-');
      const std::string_view value =
          option ? std::string_view(word).substr(std::min(word.find('='), word.size() - 1) + 1) : word;
      // "./x" and ".[extra]" can be nothing else, there or not.
      const bool here = words == &command.packages && value.starts_with('.') && !is_mounted_here(value);
      if (here || lies_here(value)) return "the argument " + quoted_path(word);
    }
  }
  using enum Command::Kind;
  if (command.kind == kNpmPackage || command.kind == kPythonTool) return {};
  if (const std::string module = module_of(command.args);
      command.kind == kPython && (lies_here(module) || lies_here(module + ".py")))
    return "the module '" + module + "'";
  // An absolute script, program or project option brings its own folder.
  if (!command.folder.empty() || !command.script_path.empty() || spec.command.starts_with('/')) return {};
  const auto project = nearest_project(folder, limit.empty() ? folder : limit, Language::kAny);
  return project ? "the project in " + quoted_path(*project) : std::string();
}

}  // namespace mcpbox::workspace
