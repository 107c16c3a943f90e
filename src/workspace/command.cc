#include "workspace/command.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "workspace/path_text.h"
#include "workspace/project.h"

namespace mcpbox::workspace {
namespace {

using Names = std::initializer_list<std::string_view>;

bool in(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
bool in(std::string_view name, const std::vector<std::string_view>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Walks over a runner's own options. next() gives one option at a time with its value where it takes one, and stops at
// the first word that belongs to the program.
class Options {
 public:
  Options(const std::vector<std::string>& args, std::size_t at, Names with_value)
      : args_(args), at_(at), with_value_(with_value) {}

  // False at the end of the options. name is "-p" or "--package"; value is empty for a switch.
  bool next() {
    if (at_ >= args_.size()) return false;
    const std::string& word = args_[at_];
    if (word == "--") {
      ++at_;
      return false;
    }
    if (word.size() < 2 || word[0] != '-') return false;
    ++at_;
    std::size_t equals = word.find('=');
    name = word.substr(0, equals);
    value.clear();
    has_value = equals != std::string::npos;
    if (has_value) {
      value = word.substr(equals + 1);
    } else if (in(name, with_value_) && at_ < args_.size()) {
      value = args_[at_++];
      has_value = true;
    } else if (name.size() > 2 && name[1] != '-' && in(name.substr(0, 2), with_value_)) {
      value = name.substr(2);  // -p3.12
      name.resize(2);
      has_value = true;
    }
    return true;
  }
  std::vector<std::string> rest() const {
    return {args_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, args_.size())), args_.end()};
  }
  std::string as_written() const { return has_value ? name + "=" + value : name; }

  std::string name;
  std::string value;
  bool has_value = false;

 private:
  const std::vector<std::string>& args_;
  std::size_t at_;
  std::vector<std::string_view> with_value_;  // a copy: the list's array ends with the caller's expression
};

// Takes the first of `rest` as the package or program; the others are the server's.
std::string take_first(Command& command, std::vector<std::string> rest) {
  if (rest.empty()) return {};
  std::string first = std::move(rest.front());
  rest.erase(rest.begin());
  command.args = std::move(rest);
  return first;
}

void parse_npx(Command& command, const std::vector<std::string>& args, std::size_t at) {
  command.kind = Command::Kind::kNpmPackage;
  Options options(args, at,
                  {"-p", "--package", "-c", "--call", "--registry", "--prefix", "-C", "--cache", "--userconfig",
                   "--loglevel", "--node-options", "-n", "--node-arg", "-w", "--workspace", "--shell", "--script-shell",
                   "--allow-build", "--cafile"});
  while (options.next()) {
    if (in(options.name, {"-p", "--package"}))
      command.packages.push_back(options.value);
    else if (in(options.name, {"-c", "--call"}))
      command.unsupported =
          "a shell line (" + options.name + ") is not started in a sandbox; name the package's program instead";
    else if (options.name == "--registry" || options.name.starts_with("--@"))
      command.installer_flags.push_back(options.as_written());
    else if (in(options.name, {"--legacy-peer-deps", "--ignore-scripts", "--force"}))
      command.installer_flags.push_back(options.name);
    else if (!in(options.name, {"-y", "--yes", "-q", "--quiet", "-s", "--silent"}))
      command.dropped.push_back(options.as_written());
  }
  bool named = !command.packages.empty();
  std::string first = take_first(command, options.rest());
  // npx itself accepts its options behind the package too when they stand before "--"; what is there is the server's
  // for us.
  if (!named)
    command.packages.push_back(first);
  else
    command.executable = first;
  if (first.empty() && command.unsupported.empty()) {
    if (!named) command.unsupported = "no package is named behind " + std::string(base_name(command.program));
  }
}

const Names kUvOptions = {"--from",
                          "--with",
                          "--with-editable",
                          "--with-requirements",
                          "--python",
                          "-p",
                          "--index-url",
                          "-i",
                          "--extra-index-url",
                          "--index",
                          "--default-index",
                          "--find-links",
                          "-f",
                          "--directory",
                          "--project",
                          "--prerelease",
                          "--resolution",
                          "--constraints",
                          "--constraint",
                          "-c",
                          "--overrides",
                          "--override",
                          "--build-constraints",
                          "-b",
                          "--env-file",
                          "--extra",
                          "--group",
                          "--only-group",
                          "--no-group",
                          "--package",
                          "--cache-dir",
                          "--config-file",
                          "--color",
                          "--link-mode",
                          "--exclude-newer",
                          "--python-platform",
                          "--refresh-package",
                          "--reinstall-package",
                          "--upgrade-package",
                          "-P",
                          "--keyring-provider",
                          "--index-strategy",
                          "--allow-insecure-host",
                          "--config-setting",
                          "-C",
                          "--no-binary-package",
                          "--no-build-package",
                          "-w",
                          "--fork-strategy",
                          "--spec",
                          "--pip-args",
                          "--suffix"};

// The options that uvx, uv tool run, uv run and pipx run share. False when it is none of them.
bool take_python_option(Command& command, const Options& option) {
  if (in(option.name, {"--with", "-w", "--with-editable"})) {
    // uv takes several packages in one --with, separated by commas; a comma within brackets or behind a comparison
    // belongs to a version.
    std::string item;
    int depth = 0;
    std::string_view text = option.value;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      bool end = i == text.size();
      if (!end && text[i] == '[') ++depth;
      if (!end && text[i] == ']') --depth;
      bool version_follows = !end && text[i] == ',' && i + 1 < text.size() &&
                             std::string_view("<>=!~ ").find(text[i + 1]) != std::string_view::npos;
      if (end || (text[i] == ',' && depth == 0 && !version_follows)) {
        if (!item.empty()) command.with.push_back(item);
        item.clear();
      } else {
        item += text[i];
      }
    }
  } else if (option.name == "--with-requirements") {
    command.requirement_files.push_back(option.value);
  } else if (in(option.name, {"--python", "-p"})) {
    command.python = option.value;
  } else if (in(option.name, {"--directory", "--project"})) {
    command.folder = option.value;
    command.changes_directory = option.name == "--directory";
  } else if (in(option.name, {"-i", "--index-url", "--extra-index-url", "--index", "--default-index", "--prerelease",
                              "--resolution", "--exclude-newer", "--index-strategy", "--allow-insecure-host",
                              "--keyring-provider", "--native-tls", "--no-build", "--no-binary", "--pre"})) {
    command.installer_flags.push_back(option.name == "-i"      ? "--index-url=" + option.value
                                      : option.name == "--pre" ? "--prerelease=allow"
                                                               : option.as_written());
  } else {
    return false;
  }
  return true;
}

void parse_uvx(Command& command, const std::vector<std::string>& args, std::size_t at) {
  command.kind = Command::Kind::kPythonTool;
  Options options(args, at, kUvOptions);
  std::string from;
  while (options.next()) {
    if (in(options.name, {"--from", "--spec"}))
      from = options.value;
    else if (!take_python_option(command, options))
      command.dropped.push_back(options.as_written());
  }
  std::string first = take_first(command, options.rest());
  if (first.empty()) {
    command.unsupported = "no package is named behind " + std::string(base_name(command.program));
    return;
  }
  command.packages.push_back(python_requirement_of(from.empty() ? first : from));
  command.executable = from.empty() ? python_name_of(first) : first;
  if (!command.executable.empty()) return;
  // The name of a repository or an archive is only a guess at what it installs, but uv guesses no better without
  // fetching it.
  std::string_view tail = base_name(std::string_view(first).substr(0, first.find_first_of("#?")));
  tail = tail.substr(0, tail.find('@'));
  if (tail.ends_with(".git")) tail.remove_suffix(4);
  command.executable = std::string(tail);
}

void parse_uv_run(Command& command, const std::vector<std::string>& args, std::size_t at) {
  command.kind = Command::Kind::kPythonRun;
  Options options(args, at, kUvOptions);
  while (options.next()) {
    if (in(options.name, {"-m", "--module"})) {
      command.module = true;
      if (options.has_value) command.executable = options.value;
    } else if (in(options.name, {"-s", "--script", "--gui-script"})) {
      command.script = true;
    } else if (in(options.name, {"--extra", "--group"})) {
      command.installer_flags.push_back(options.as_written());
    } else if (in(options.name, {"--all-extras", "--all-groups"})) {
      command.installer_flags.push_back(options.name);
    } else if (!take_python_option(command, options)) {
      command.dropped.push_back(options.as_written());
    }
  }
  if (command.executable.empty())
    command.executable = take_first(command, options.rest());
  else
    command.args = options.rest();
  if (command.executable.empty()) command.unsupported = "uv run names no program";
  if (!command.module && (command.executable.ends_with(".py") || command.executable.ends_with(".pyw")))
    command.script = true;
  if (command.script) command.script_path = command.executable;
  if (is_python_name(command.executable) && !command.module && !command.args.empty() &&
      command.args.front().ends_with(".py")) {
    command.script_path = command.args.front();
  }
}

// uv [global options] run|tool run|x …
void parse_uv(Command& command, const std::vector<std::string>& args) {
  Options options(args, 0, kUvOptions);
  Command global;
  while (options.next()) {
    if (!take_python_option(global, options)) global.dropped.push_back(options.as_written());
  }
  auto rest = options.rest();
  auto adopt = [&] {
    command.folder = global.folder;
    command.changes_directory = global.changes_directory;
    command.dropped = global.dropped;
  };
  if (!rest.empty() && rest[0] == "run") {
    adopt();
    parse_uv_run(command, rest, 1);
  } else if (rest.size() > 1 && rest[0] == "tool" && rest[1] == "run") {
    adopt();
    parse_uvx(command, rest, 2);
  } else {
    command.args = args;
  }
}

void parse_poetry(Command& command, const std::vector<std::string>& args) {
  Options options(args, 0, {"-C", "--directory", "-P", "--project"});
  Command parsed = command;
  while (options.next()) {
    if (in(options.name, {"-C", "--directory", "-P", "--project"})) {
      parsed.folder = options.value;
      parsed.changes_directory = options.name == "-C" || options.name == "--directory";
    } else {
      parsed.dropped.push_back(options.name);
    }
  }
  auto rest = options.rest();
  if (rest.size() < 2 || rest[0] != "run") {
    command.args = args;
    return;
  }
  command = parsed;
  command.kind = Command::Kind::kPythonRun;
  command.executable = rest[1];
  command.args.assign(rest.begin() + 2, rest.end());
  if (is_python_name(command.executable) && !command.args.empty() && command.args.front().ends_with(".py"))
    command.script_path = command.args.front();
}

void parse_node_runner(Command& command, std::string_view name, const std::vector<std::string>& args) {
  Options options(args, 0, {"--prefix", "-C", "--dir", "--cwd", "-w", "--workspace", "--filter", "-F"});
  std::string folder;
  while (options.next()) {
    if (in(options.name, {"--prefix", "-C", "--dir", "--cwd"})) folder = options.value;
  }
  auto rest = options.rest();
  auto at = static_cast<std::size_t>(args.size() - rest.size());
  std::string_view verb = rest.empty() ? std::string_view() : std::string_view(rest[0]);
  if ((name == "npm" && in(verb, {"exec", "x"})) || (name == "pnpm" && verb == "dlx") ||
      (name == "yarn" && verb == "dlx") || (name == "bun" && verb == "x")) {
    parse_npx(command, args, at + 1);
    return;
  }
  command.args = args;
  if (verb.empty() || name == "bun") return;
  command.kind = Command::Kind::kNodeRunner;
  command.folder = folder;
}

void parse_interpreter(Command& command, const std::vector<std::string>& args, Names with_value) {
  command.args = args;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (in(word, {"-c", "-m", "-e", "--eval", "-p", "--print", "--module"})) return;
    if (word.size() > 2 && word[0] == '-' && word[1] == 'm' && command.kind == Command::Kind::kPython) return;
    if (word == "-") return;
    if (word.starts_with('-')) {
      if (in(word, with_value)) ++i;
      continue;
    }
    command.script_path = word;
    return;
  }
}

}  // namespace

Command parse_command(const std::string& program, const std::vector<std::string>& args) {
  Command command;
  command.program = program;
  std::string name(base_name(program));
  // "cmd /c npx …" is how documentation for Windows writes it; copied configurations keep it.
  if ((name == "cmd" || name == "cmd.exe") && args.size() >= 2 && (args[0] == "/c" || args[0] == "/C")) {
    return parse_command(args[1], {args.begin() + 2, args.end()});
  }
  if (is_python_name(name)) {
    command.kind = Command::Kind::kPython;
    command.python = python_version_of(name);
    parse_interpreter(command, args, {"-W", "-X", "--check-hash-based-pycs"});
  } else if (name == "node" || name == "nodejs" || name == "tsx") {
    command.kind = Command::Kind::kNode;
    parse_interpreter(command, args,
                      {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions",
                       "--env-file", "--tsconfig"});
  } else if (name == "npx" || name == "pnpx" || name == "bunx") {
    parse_npx(command, args, 0);
  } else if (name == "npm" || name == "pnpm" || name == "yarn" || name == "bun") {
    parse_node_runner(command, name, args);
  } else if (name == "uvx") {
    parse_uvx(command, args, 0);
  } else if (name == "uv") {
    parse_uv(command, args);
  } else if (name == "pipx" && !args.empty() && args[0] == "run") {
    parse_uvx(command, args, 1);
  } else if (name == "poetry") {
    parse_poetry(command, args);
  } else {
    command.args = args;
    if (name == "docker" || name == "podman") {
      command.unsupported =
          "a server that is itself a container cannot be started in a sandbox; name the program that its image runs, "
          "or use the image as the sandbox's";
    }
  }
  return command;
}

std::string npm_name_of(const std::string& spec) {
  if (spec.empty() || spec.find("://") != std::string::npos || spec.starts_with('.') || spec.starts_with('/') ||
      spec.starts_with('~'))
    return {};
  std::size_t slash = spec.find('/');
  std::size_t version = spec.find('@', 1);
  std::string name = spec.substr(0, version);
  if (spec[0] == '@') {
    if (slash == std::string::npos || name.find('/', slash + 1) != std::string::npos) return {};
  } else if (slash != std::string::npos && (version == std::string::npos || slash < version)) {
    return {};  // user/repository
  }
  if (name.find(':') != std::string::npos) return {};  // github:user/repository
  if (version == std::string::npos && (name.ends_with(".tgz") || name.ends_with(".tar.gz"))) return {};
  return name;
}

std::string python_name_of(const std::string& spec) {
  std::size_t end = spec.find_first_of("[<>=!~;@ (");
  std::string name = spec.substr(0, end);
  if (name.empty() || name.find('/') != std::string::npos || name.find(':') != std::string::npos || name[0] == '.' ||
      name[0] == '-')
    return {};
  if (end == std::string::npos && (name.ends_with(".whl") || name.ends_with(".tar.gz") || name.ends_with(".zip")))
    return {};
  return name;
}

std::string python_requirement_of(const std::string& spec) {
  std::size_t at = spec.find('@');
  if (at == std::string::npos || at == 0 || spec.find("://") != std::string::npos || spec[at - 1] == ' ' ||
      spec.find('/') < at)
    return spec;
  std::string version = spec.substr(at + 1);
  if (version == "latest" || version.empty()) return spec.substr(0, at);
  return spec.substr(0, at) + "==" + version;
}

}  // namespace mcpbox::workspace
