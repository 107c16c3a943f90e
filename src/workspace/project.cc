#include "workspace/project.h"

#include <algorithm>
#include <array>

#include "json/value.h"
#include "workspace/host_view.h"
#include "workspace/path_text.h"
#include "workspace/python_manifest.h"

namespace mcpbox::workspace {
namespace {

template <std::size_t N>
bool one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool digits_and_dots(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

}  // namespace

bool has_manifest(const std::string& folder, Language language) {
  auto has = [&](std::string_view name) { return host_kind(join_path(folder, name)) == HostKind::kFile; };
  bool python = language != Language::kNode &&
                (has("requirements.txt") || has("pyproject.toml") || has("setup.py") || has("setup.cfg"));
  return python || (language != Language::kPython && has("package.json"));
}

std::optional<std::string> nearest_project(const std::string& folder, const std::string& limit, Language language) {
  for (std::string at = folder; is_beneath(at, limit); at = parent_of(at)) {
    if (has_manifest(at, language)) return at;
    if (at == "/") break;
  }
  return std::nullopt;
}

std::optional<std::string> workspace_above(FolderReader& files, const std::string& project, const std::string& limit,
                                           const std::optional<FolderReader::Within>& within) {
  constexpr std::size_t kLimit = 4 << 20;
  const auto read = [&](const std::string& folder, std::string_view name) {
    return files.text(within.value_or(FolderReader::Within{folder}), join_path(folder, name), kLimit);
  };
  auto has = [](const std::string& folder, std::string_view name) {
    return host_kind(join_path(folder, name)) == HostKind::kFile;
  };
  bool node = has(project, "package.json");
  bool python = has(project, "pyproject.toml");
  for (const char* lock :
       {"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "uv.lock", "poetry.lock"}) {
    if (has(project, lock)) return std::nullopt;
  }
  for (std::string at = project; at != limit && at != "/";) {
    at = parent_of(at);
    if (node && has(at, "pnpm-workspace.yaml")) return at;
    if (node && has(at, "package.json")) {
      auto text = read(at, "package.json");
      auto package = text ? json::Value::parse(*text) : fail(text.error());
      if (package && (*package)["workspaces"].present()) return at;
    }
    if (python && has(at, "uv.lock") && has(at, "pyproject.toml")) {
      auto text = read(at, "pyproject.toml");
      const auto facts = text ? read_project(*text) : fail(text.error());
      if (facts && facts->has_workspace) return at;
    }
  }
  return std::nullopt;
}

std::optional<VenvProgram> venv_program(const std::string& path) {
  std::string bin = parent_of(path);
  if (base_name(bin) != "bin" && base_name(bin) != "Scripts") return std::nullopt;
  std::string environment = parent_of(bin);
  if (environment == "/") return std::nullopt;
  static constexpr std::array<std::string_view, 4> kUsual{".venv", "venv", "env", ".env"};
  bool usual = one_of(base_name(environment), kUsual);
  bool marked = host_kind(join_path(environment, "pyvenv.cfg")) == HostKind::kFile;
  if (!marked && !usual) return std::nullopt;
  VenvProgram found{environment, {}, std::string(base_name(path)), false};
  found.interpreter = is_python_name(found.program);
  std::string project = parent_of(environment);
  if (project != "/" && (usual || has_manifest(project, Language::kPython))) found.project = project;
  return found;
}

bool is_python_name(std::string_view program) {
  if (program.ends_with(".exe")) program.remove_suffix(4);
  for (std::string_view stem : {"python", "pypy"}) {
    if (program.starts_with(stem) && digits_and_dots(program.substr(stem.size()))) return true;
  }
  return false;
}

std::string python_version_of(std::string_view program) {
  if (!program.starts_with("python")) return {};
  std::string_view version = program.substr(6);
  return version.find('.') == std::string_view::npos || !digits_and_dots(version) ? std::string()
                                                                                  : std::string(version);
}

bool is_script_name(std::string_view file) {
  static constexpr std::array<std::string_view, 14> kEndings{".py",  ".pyw", ".pyz", ".js",  ".mjs", ".cjs", ".ts",
                                                             ".mts", ".cts", ".jsx", ".tsx", ".sh",  ".rb",  ".jar"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view ending) { return file.ends_with(ending); });
}

bool is_runtime_name(std::string_view program) {
  static constexpr std::array<std::string_view, 22> kRuntimes{
      "node", "nodejs", "npm",  "npx",    "pnpm", "pnpx", "yarn", "bun",  "bunx", "deno", "tsx",
      "uv",   "uvx",    "pipx", "poetry", "pip",  "pip3", "sh",   "bash", "env",  "java", "ruby"};
  return is_python_name(program) || one_of(program, kRuntimes);
}

}  // namespace mcpbox::workspace
