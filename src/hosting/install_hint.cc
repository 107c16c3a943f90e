#include <array>
#include <string>
#include <string_view>

#include "hosting/installer.h"

namespace mcpbox::hosting {
namespace {

struct Sign {
  std::string_view text;
  std::string_view hint;
};

// The first sign found wins, so the narrower ones stand first. Taken from what pip, uv and npm print.
constexpr std::array kSigns{
    Sign{"No space left on device", "the engine's disk is full: free space, or prune old environments"},
    Sign{"ENOSPC", "the engine's disk is full: free space, or prune old environments"},
    Sign{"npm error code E404", "no such package in the npm registry: check the name's spelling"},
    Sign{"npm ERR! code E404", "no such package in the npm registry: check the name's spelling"},
    Sign{"ETARGET", "the package exists, but not in that version: check the version"},
    Sign{"was not found in the package registry", "no such package in the Python index: check the name's spelling"},
    Sign{"No matching distribution found", "no such package or version for this Python: check the name and the version"},
    Sign{"there is no version of", "the package exists, but not in that version: check the version"},
    Sign{"No solution found when resolving", "the requirements contradict each other, or ask for a version that does not exist"},
    Sign{"invalid peer certificate", "a TLS certificate is not trusted: set box.ca_bundle to your company's CA bundle"},
    Sign{"SELF_SIGNED_CERT", "a TLS certificate is not trusted: set box.ca_bundle to your company's CA bundle"},
    Sign{"UNABLE_TO_GET_ISSUER_CERT", "a TLS certificate is not trusted: set box.ca_bundle to your company's CA bundle"},
    Sign{"CERTIFICATE_VERIFY_FAILED", "a TLS certificate is not trusted: set box.ca_bundle to your company's CA bundle"},
    Sign{"unable to get local issuer", "a TLS certificate is not trusted: set box.ca_bundle to your company's CA bundle"},
    Sign{"EAI_AGAIN", "the registry's name does not resolve: the installer has no network or no DNS"},
    Sign{"ENOTFOUND", "the registry's name does not resolve: the installer has no network or no DNS"},
    Sign{"dns error", "the registry's name does not resolve: the installer has no network or no DNS"},
    Sign{"Temporary failure in name resolution", "the registry's name does not resolve: the installer has no network or no DNS"},
    Sign{"ECONNREFUSED", "the registry refuses connections: check the network, a proxy may be needed in box.install_env"},
    Sign{"ETIMEDOUT", "the registry does not answer: check the network, a proxy may be needed in box.install_env"},
    Sign{"error: command 'gcc' failed", "a package has no ready-made wheel and needs a compiler: use an image with build tools"},
    Sign{"gcc: command not found", "a package has no ready-made wheel and needs a compiler: use an image with build tools"},
    Sign{"No such file or directory: 'gcc'", "a package has no ready-made wheel and needs a compiler: use an image with build tools"},
    Sign{"command `cc`", "a package has no ready-made wheel and needs a compiler: use an image with build tools"},
    Sign{"node-gyp", "a package builds native code: use an image with build tools"},
    Sign{"EBADENGINE", "a package wants another Node version: use an image that has it"},
};

}  // namespace

std::string install_hint(std::string_view output) {
  for (const Sign& sign : kSigns) {
    if (output.find(sign.text) != std::string_view::npos) return std::string(sign.hint);
  }
  return {};
}

}  // namespace mcpbox::hosting
