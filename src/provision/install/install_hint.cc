#include "provision/install/install_hint.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/secrets.h"
#include "base/setting_name.h"
#include "base/text.h"

namespace mcpbox::provision {
namespace {

// What is to be done; {} and {1} stand for what has to be set.
struct Hint {
  std::string_view text;
  std::string_view key, option;          // of {}
  std::string_view key_two, option_two;  // of {1}
};

struct Sign {
  std::string_view text;
  Hint hint;
};

constexpr std::string_view kInstallAllow = "box.network.install_allow", kInstallAllowOption = "--install-allow";

constexpr Hint kBlocked{"it needs a host that installs may not reach: `mcpbox egress tail` names it; allow it with {}",
                        kInstallAllow, kInstallAllowOption};

constexpr Hint kGitHost{
    "it comes from a Git host, which installs reach by HTTPS, and where {} names it: github.com and "
    "codeload.github.com for GitHub; `mcpbox egress tail` shows what became of it",
    kInstallAllow, kInstallAllowOption};

constexpr Hint kUntrusted{"a TLS certificate is not trusted: set {} to your company's CA bundle", "box.ca_bundle",
                          "--ca-bundle"};

constexpr std::string_view kMemory = "box.limits.memory_mb", kMemoryOption = "--memory";
constexpr std::string_view kMode = "box.install_mode", kModeOption = "--install-mode";
constexpr std::string_view kProxy = "egress.upstream_proxy", kProxyVariable = "HTTPS_PROXY in the environment";

// The first sign found wins, so the narrower ones stand first. Taken from what pip, uv and npm print.
constexpr std::array kSigns{
    Sign{"No space left on device", {"the engine's disk is full: free space, or prune old environments"}},
    Sign{"ENOSPC", {"the engine's disk is full: free space, or prune old environments"}},
    Sign{"JavaScript heap out of memory", {"it ran out of memory: raise {}", kMemory, kMemoryOption}},
    Sign{"Killed signal terminated program",
         {"the compiler was killed, as a rule for memory: raise {}", kMemory, kMemoryOption}},
    Sign{"Cannot allocate memory", {"it ran out of memory: raise {}", kMemory, kMemoryOption}},
    Sign{"signal: 9 (SIGKILL)", {"a part of it was killed, as a rule for memory: raise {}", kMemory, kMemoryOption}},
    Sign{"ENOTCACHED",
         {"offline, and the npm cache does not have it: fill {0}, or install once with {1} open", "box.npm_cache",
          "--npm-cache", kMode, kModeOption}},
    Sign{"Network connectivity is disabled",
         {"offline, and the wheelhouse does not have it: add the wheel to {0}, or install once with {1} open",
          "box.wheelhouse", "--wheelhouse", kMode, kModeOption}},
    Sign{"because --no-index was passed",
         {"offline, and the wheelhouse does not have it: add the wheel to {0}, or install once with {1} open",
          "box.wheelhouse", "--wheelhouse", kMode, kModeOption}},
    Sign{"lookups were disabled and no additional package locations",
         {"offline, and there is no wheelhouse: set {0}, or install once with {1} open", "box.wheelhouse",
          "--wheelhouse", kMode, kModeOption}},
    Sign{"Hash mismatch",
         {"a file is not the one whose hash is pinned: the lock file or the registry was tampered with, or is out of "
          "date"}},
    Sign{"EINTEGRITY",
         {"a package is not the one whose hash the lock file has: it was tampered with, or the lock file is out of "
          "date"}},
    Sign{"must have their versions pinned", {"with hashes, every requirement needs ==VERSION and --hash"}},
    Sign{"npm ci` can only install packages when",
         {"package.json and its lock file disagree: run `npm install` in the project"}},
    Sign{"ERR_PNPM_OUTDATED_LOCKFILE", {"package.json and pnpm-lock.yaml disagree: run `pnpm install` in the project"}},
    Sign{"Your lockfile needs to be updated",
         {"package.json and yarn.lock disagree: run `yarn install` in the project"}},
    Sign{"ls-remote", kGitHost},
    Sign{"403 Blocked by mcpbox", kBlocked},
    Sign{"CONNECT tunnel failed, response 403", kBlocked},
    Sign{"tunnel error: unsuccessful", kBlocked},
    Sign{"Tunnel connection failed: 403", kBlocked},
    Sign{"npm error code E404", {"no such package in the npm registry: check the name's spelling"}},
    Sign{"npm ERR! code E404", {"no such package in the npm registry: check the name's spelling"}},
    Sign{"ETARGET", {"the package exists, but not in that version: check the version"}},
    Sign{"was not found in the package registry", {"no such package in the Python index: check the name's spelling"}},
    Sign{"No matching distribution found",
         {"no such package or version for this Python: check the name and the version"}},
    Sign{"there is no version of", {"the package exists, but not in that version: check the version"}},
    Sign{"No solution found when resolving",
         {"the requirements contradict each other, or ask for a version that does not exist"}},
    Sign{"invalid peer certificate", kUntrusted},
    Sign{"SELF_SIGNED_CERT", kUntrusted},
    Sign{"UNABLE_TO_GET_ISSUER_CERT", kUntrusted},
    Sign{"CERTIFICATE_VERIFY_FAILED", kUntrusted},
    Sign{"unable to get local issuer", kUntrusted},
    Sign{"EAI_AGAIN", {"the registry's name does not resolve: the installer has no network or no DNS"}},
    Sign{"ENOTFOUND", {"the registry's name does not resolve: the installer has no network or no DNS"}},
    Sign{"dns error", {"the registry's name does not resolve: the installer has no network or no DNS"}},
    Sign{"Temporary failure in name resolution",
         {"the registry's name does not resolve: the installer has no network or no DNS"}},
    Sign{"ECONNREFUSED",
         {"the registry refuses connections: check the network, a proxy may be needed: {}", kProxy, kProxyVariable}},
    Sign{"ETIMEDOUT",
         {"the registry does not answer: check the network, a proxy may be needed: {}", kProxy, kProxyVariable}},
    Sign{"Connection refused",
         {"the registry refuses connections: check the network, a proxy may be needed: {}", kProxy, kProxyVariable}},
    Sign{"Network is unreachable", {"the installer has no network"}},
    Sign{"operation timed out",
         {"the registry does not answer: check the network, a proxy may be needed: {}", kProxy, kProxyVariable}},
    Sign{"error: command 'gcc' failed",
         {"a package has no ready-made wheel and needs a compiler: use an image with build tools"}},
    Sign{"linux-gnu-gcc'", {"a package has no ready-made wheel and needs a compiler: use an image with build tools"}},
    Sign{"gcc: command not found",
         {"a package has no ready-made wheel and needs a compiler: use an image with build tools"}},
    Sign{"No such file or directory: 'gcc'",
         {"a package has no ready-made wheel and needs a compiler: use an image with build tools"}},
    Sign{"command `cc`", {"a package has no ready-made wheel and needs a compiler: use an image with build tools"}},
    Sign{"node-gyp", {"a package builds native code: use an image with build tools"}},
    Sign{"EBADENGINE", {"a package wants another Node version: use an image that has it"}},
};

// Of network failures, in the words of uv, pip and npm.
constexpr std::string_view kNetworkSigns[] = {"EAI_AGAIN",
                                              "ENOTFOUND",
                                              "dns error",
                                              "Temporary failure in name resolution",
                                              "ECONNREFUSED",
                                              "ECONNRESET",
                                              "ETIMEDOUT",
                                              "Connection refused",
                                              "Network is unreachable",
                                              "operation timed out",
                                              "Connection reset",
                                              "error sending request"};
// Where the part of the output begins that tells what is wrong.
constexpr std::string_view kErrorStarts[] = {"error:", "Error:",   "ERROR", "npm error", "npm ERR!",
                                             "\u00d7", "  \u00d7", "  x ",  "error ",    "fatal:"};
constexpr std::string_view kNoise[] = {"A complete log of this run",
                                       "npm warn",
                                       "npm notice",
                                       "npm WARN",
                                       "To update run",
                                       "Changelog:",
                                       "[notice]",
                                       "    at "};

template <class Range>
bool contains_any(std::string_view text, const Range& signs) {
  for (const std::string_view sign : signs) {
    if (text.find(sign) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

bool is_network_failure(std::string_view output) {
  return contains_any(output, kNetworkSigns);
}

std::string lines_that_matter(std::string_view output) {
  constexpr std::size_t kLines = 12;
  std::vector<std::string> lines;
  std::size_t error = std::string::npos;
  for (const std::string_view line : split(output, '\n')) {
    if (trim(line).empty() || contains_any(line, kNoise)) continue;
    for (const std::string_view start : kErrorStarts) {
      if (error == std::string::npos && line.starts_with(start)) error = lines.size();
    }
    lines.push_back(printable(line, 400));
  }
  std::size_t first = lines.size() > kLines ? lines.size() - kLines : 0;
  if (error != std::string::npos && error < first) first = error;
  std::string out;
  for (std::size_t i = first; i < lines.size() && i < first + kLines; ++i) out += (out.empty() ? "" : "\n") + lines[i];
  return out;
}

std::string install_hint(std::string_view output, std::span<const std::string> refused) {
  Hint hint;
  for (const Sign& sign : kSigns) {
    if (output.find(sign.text) == std::string_view::npos) continue;
    hint = sign.hint;
    break;
  }
  const bool about_hosts = hint.text.empty() || hint.key == kInstallAllow;
  if (refused.empty() || !about_hosts) {
    return fmt::format(fmt::runtime(hint.text), setting_name(hint.key, hint.option),
                       setting_name(hint.key_two, hint.option_two));
  }
  return fmt::format("installs may not reach what it asked for: {}; allow it with {}, and what it asks for then",
                     from_outside(join(refused, ", "), 500), setting_name(kInstallAllow, kInstallAllowOption));
}

}  // namespace mcpbox::provision
