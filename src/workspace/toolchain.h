// Finds the interpreters and package managers outside /usr that the user's PATH leads to: nvm, fnm, pyenv, uv,
// Homebrew, /opt, single binaries.
//
// What is found may be shown to sandboxes read-only. It is never a home directory or anything above one: only the
// prefix of one version (".nvm/versions/node/v22.1.0"), the parts of a Homebrew prefix that hold programs, or a single
// executable file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mcpbox::workspace {

struct Toolchain {
  std::string program;                                     // "node"
  std::string bin;                                         // directory that PATH needs inside
  std::vector<std::pair<std::string, std::string>> binds;  // host path without links, path inside
};

struct Toolchains {
  std::vector<Toolchain> found;
  std::vector<std::string> notes;  // programs that the user has and that cannot be shown, with the reason
};

// `path` and `home`: the user's variables PATH and HOME. Reads directories, runs nothing. Programs that PATH finds in
// the system first are left out.
Toolchains find_toolchains(std::string_view path, const std::string& home);

}  // namespace mcpbox::workspace
