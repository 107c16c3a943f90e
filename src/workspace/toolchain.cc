#include "workspace/toolchain.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>

#include "base/text.h"
#include "base/unique_fd.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

constexpr std::string_view kPrograms[] = {"node",   "npm", "npx", "pnpm", "yarn", "bun",  "bunx", "deno",  "python3",
                                          "python", "pip", "uv",  "uvx",  "java", "ruby", "go",   "dotnet"};
constexpr std::string_view kSystemPlaces[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64"};
// What a Homebrew prefix has for programs; its etc and var are the user's.
constexpr std::string_view kBrew[] = {
    "bin", "sbin", "lib", "opt", "Cellar", "share", "libexec", "etc/openssl@3", "etc/ca-certificates"};
// Programs that find out at run time which version is meant, from files that no sandbox sees.
constexpr std::string_view kShims[] = {"volta-shim", "mise", "rtx", "asdf", "proto-shim"};

std::string real_path(const std::string& path) {
  std::array<char, PATH_MAX> buffer{};
  return ::realpath(path.c_str(), buffer.data()) == nullptr ? std::string() : std::string(buffer.data());
}

bool is_system(std::string_view path) {
  return std::ranges::any_of(kSystemPlaces, [&](std::string_view each) { return is_beneath(path, each); });
}

bool is_program(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0;
}

bool is_directory(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool is_elf(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4> head{};
  return file && ::read(file.get(), head.data(), head.size()) == 4 && std::string_view(head.data(), 4) == "\177ELF";
}

// "v22.1.0", "3.12.4", "cpython-3.12.4-linux-x86_64-gnu", "jdk-21": one version of one thing.
bool names_a_version(std::string_view name) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i + 2 < name.size(); ++i) {
    if (digit(name[i]) && name[i + 1] == '.' && digit(name[i + 2])) return true;
  }
  return !name.empty() && digit(name.back()) && (name.front() == 'v' || name.contains('-') || digit(name.front()));
}

// The version must be named below the home directory: a user may be called "dev-2".
bool is_version_prefix(const std::string& prefix, const std::string& home) {
  if (prefix.size() < 2 || is_beneath(home, prefix)) return false;
  const std::string below = is_beneath(prefix, home) ? prefix.substr(home.size()) : prefix;
  const auto parts = split(below, '/');
  for (std::size_t i = parts.size() > 2 ? parts.size() - 2 : 0; i < parts.size(); ++i) {
    if (names_a_version(parts[i])) return true;
  }
  return false;
}

// The prefix of a program in `directory` ("…/v22.1.0/bin"), if it may be shown as a whole.
std::optional<std::string> prefix_of(const std::string& directory, const std::string& home) {
  if (base_name(directory) != "bin") return std::nullopt;
  std::string prefix = parent_of(directory);
  const bool own_folder = is_beneath(prefix, "/opt") && prefix != "/opt";
  const bool conda = !is_beneath(home, prefix) && is_directory(prefix + "/conda-meta");
  if ((own_folder && !is_beneath(home, prefix)) || conda || is_version_prefix(prefix, home)) return prefix;
  return std::nullopt;
}

Toolchain whole(std::string program, const std::string& prefix) {
  return {std::move(program), prefix + "/bin", {{prefix, prefix}}};
}

// pyenv's shims are scripts that ask pyenv; the version that it would choose without a project is in <root>/version.
std::optional<Toolchain> pyenv(const std::string& program, const std::string& directory, const std::string& home) {
  const std::string root = parent_of(directory);
  if (base_name(directory) != "shims" || !is_directory(root + "/versions")) return std::nullopt;
  std::ifstream file(root + "/version");
  std::string version;
  file >> version;
  const std::string prefix = real_path(root + "/versions/" + version);
  if (version.empty() || version.contains('/') || !is_version_prefix(prefix, home) ||
      !is_program(prefix + "/bin/" + program))
    return std::nullopt;
  return whole(program, prefix);
}

std::optional<Toolchain> brew(const std::string& program, const std::string& real) {
  const std::size_t cellar = real.find("/Cellar/");
  if (cellar == std::string::npos || cellar == 0) return std::nullopt;
  Toolchain out{program, real.substr(0, cellar) + "/bin", {}};
  for (const std::string_view part : kBrew) {
    const std::string path = fmt::format("{}/{}", real.substr(0, cellar), part);
    if (real_path(path) == path) out.binds.emplace_back(path, path);
  }
  return out;
}

std::optional<Toolchain> chain_of(const std::string& program, const std::string& directory, const std::string& home,
                                  std::string& note) {
  const std::string found = directory + "/" + program;
  const std::string real = real_path(found);
  if (auto shim = pyenv(program, directory, home)) return shim;
  if (auto prefix = brew(program, real)) return prefix;
  if (is_beneath(real, "/nix/store")) return Toolchain{program, parent_of(real), {{"/nix/store", "/nix/store"}}};
  if (base_name(directory) == "shims" || std::ranges::find(kShims, base_name(real)) != std::end(kShims)) {
    note = fmt::format("{} is a shim, and what it starts cannot be told: put the version's own bin directory on PATH",
                       printable(found));
    return std::nullopt;
  }
  if (const auto prefix = prefix_of(real_path(directory), home)) return whole(program, *prefix);
  if (const auto prefix = prefix_of(parent_of(real), home)) return whole(program, *prefix);
  if (is_elf(real)) return Toolchain{program, directory, {{real, found}}};
  note = fmt::format("{} is a script and not in a folder of one version, so it is not shown", printable(found));
  return std::nullopt;
}

}  // namespace

Toolchains find_toolchains(std::string_view path, const std::string& home) {
  Toolchains out;
  const std::string real_home = home.empty() ? std::string("/nonexistent") : real_path(home);
  for (const std::string_view program : kPrograms) {
    for (const std::string_view entry : split(path, ':')) {
      if (!entry.starts_with('/')) continue;  // relative ones depend on where somebody is
      const std::string directory = normalise(std::string(entry));
      const std::string found = directory + "/" + std::string(program);
      if (!is_program(found)) continue;
      if (is_system(real_path(found))) break;
      std::string note;
      if (auto chain = chain_of(std::string(program), directory, real_home.empty() ? home : real_home, note))
        out.found.push_back(std::move(*chain));
      if (!note.empty()) out.notes.push_back(std::move(note));
      break;
    }
  }
  return out;
}

}  // namespace mcpbox::workspace
