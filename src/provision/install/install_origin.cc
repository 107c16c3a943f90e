#include "provision/install/install_origin.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "base/url.h"
#include "provision/egress_policy.h"
#include "provision/install/installer.h"

namespace mcpbox::provision {
namespace {

// PIP_PASSWORD, UV_INDEX_X_USERNAME, npm_config_//host/:_authToken, GITHUB_TOKEN, AWS_SECRET_ACCESS_KEY.
bool is_credential_variable(std::string_view name) {
  constexpr std::array<std::string_view, 9> kWords{"token", "passw", "secret",   "auth", "credential",
                                                   "key",   "cert",  "username", "otp"};
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.contains(word); });
}

// "name=https://user:password@host/simple" → "name=https://host/simple".
std::string without_user(std::string_view word) {
  const std::size_t scheme = word.find("://");
  if (scheme == std::string_view::npos) return std::string(word);
  const std::size_t before = word.find_last_of("=,;\"'", scheme);
  const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
  const auto url = parse_url(word.substr(begin));
  if (!url) return std::string(word.substr(0, begin)) + "?";
  return fmt::format("{}{}://{}{}", word.substr(0, begin), url->scheme, url->authority(), url->target);
}

std::string without_credentials(std::string_view value) {
  std::string out;
  for (std::size_t begin = 0; begin < value.size();) {
    const std::size_t end = std::min(value.find_first_of(" \t\n", begin), value.size());
    if (end > begin) out += (out.empty() ? "" : " ") + without_user(value.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

}  // namespace

std::vector<std::string> install_origin(const std::map<std::string, Secret>& env, const OfflineSources& sources) {
  std::vector<std::string> origin;
  for (const auto& [name, value] : env) {
    if (is_proxy_variable(name)) continue;
    origin.push_back(
        fmt::format("{}={}", name, is_credential_variable(name) ? "" : without_credentials(value.reveal())));
  }
  if (sources.offline && !sources.wheelhouse.empty()) origin.push_back("wheelhouse " + sources.wheelhouse);
  if (sources.offline && !sources.npm_cache.empty()) origin.push_back("npm cache " + sources.npm_cache);
  return origin;
}

}  // namespace mcpbox::provision
