#include "provision/egress_policy.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/setting_name.h"
#include "sys/small_file.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxFile = 256u << 10;

// Half of a file would name half of the registries: one that is too large is none, and said.
std::optional<std::string> read_setting(const std::string& path) {
  auto text = sys::read_file(path, kMaxFile, sys::Links::kFollow);
  if (text) return std::move(*text);
  if (text.error().code() == Code::kResourceExhausted)
    log::warning("egress", "{}; the registries that it names are not known", text.error().message());
  return std::nullopt;
}

void add(std::vector<std::string>& rules, std::vector<std::string> more) {
  for (std::string& rule : more) {
    if (std::ranges::find(rules, rule) == rules.end()) rules.push_back(std::move(rule));
  }
}

}  // namespace

egress::SettingsReader settings_of_user(std::map<std::string, Secret> more) {
  egress::SettingsReader reader;
  reader.environment = [more = std::move(more)](const std::string& name) -> std::optional<std::string> {
    if (const auto found = more.find(name); found != more.end()) return std::string(found->second.reveal());
    const char* value = ::getenv(name.c_str());
    return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
  };
  reader.file = read_setting;
  if (const char* home = ::getenv("HOME"); home != nullptr) reader.home = home;
  return reader;
}

std::map<std::string, Secret> install_variables(std::map<std::string, Secret> own) {
  std::map<std::string, Secret> variables;
  for (auto& [name, value] : egress::registry_variables(settings_of_user(own)))
    variables[name] = Secret(std::move(value));
  for (auto& [name, value] : own) variables[name] = std::move(value);
  return variables;
}

Result<egress::PolicyText> run_policy(const config::ServerNetwork& network, const egress::SettingsReader& user) {
  egress::PolicyText policy;
  policy.mode = network_mode_name(network.mode);
  auto allow = egress::expand_presets(network.allow, user);
  if (!allow) return fail(std::move(allow).error().with_context("network.allow"));
  policy.allow = std::move(*allow);
  return policy;
}

Result<egress::PolicyText> install_policy(const config::ServerNetwork& network, std::string_view manager,
                                          const egress::SettingsReader& user) {
  egress::PolicyText policy;
  policy.mode = network_mode_name(config::NetworkMode::kAllowlist);
  auto allow = egress::expand_presets(network.install_allow, user);
  if (!allow) return fail(std::move(allow).error().with_context("network.install_allow"));
  policy.install_allow = std::move(*allow);
  const std::vector<std::string> presets{manager == "uv" ? "pypi" : "npm"};
  auto own = egress::expand_presets(presets, user);
  // A private index beside the public one is no mirror of it.
  egress::SettingsReader without_files = user;
  without_files.file = {};
  auto others = egress::expand_presets(presets, without_files);
  for (auto* registries : {&own, &others}) {
    if (!*registries) return fail(std::move(*registries).error().with_context("the package registries"));
    add(policy.registries, std::move(**registries));
  }
  // Where yarn's lock files say that packages are, whatever registry is set.
  if (manager == "yarn") add(policy.registries, {"registry.yarnpkg.com"});
  return policy;
}

egress::NetworkText network_text(const config::EgressSettings& settings, const egress::SettingsReader& user,
                                 std::string& note) {
  egress::NetworkText text;
  text.hosts = settings.hosts;
  text.allow_private = settings.allow_private;
  if (settings.upstream_proxy) {
    text.upstream_proxy = *settings.upstream_proxy;
    return text;
  }
  for (const char* name : {"HTTPS_PROXY", "https_proxy"}) {
    const auto url = user.environment(name);
    if (!url || url->empty()) continue;
    if (auto read = egress::UpstreamProxy::parse(*url); !read) {
      note = fmt::format("{} of this user is not used for servers: {}; {}", name, read.error().message(),
                         setting_name("set egress.upstream_proxy", "set another, or none"));
    } else {
      text.upstream_proxy = Secret(*url);
    }
    break;
  }
  return text;
}

bool is_proxy_variable(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  constexpr std::array kNames{"http_proxy",         "https_proxy",      "all_proxy",
                              "no_proxy",           "npm_config_proxy", "npm_config_https_proxy",
                              "npm_config_noproxy", "pip_proxy"};
  return std::ranges::find(kNames, lower) != kNames.end();
}

std::string_view network_mode_name(config::NetworkMode mode) {
  switch (mode) {
    case config::NetworkMode::kNone:
      return "none";
    case config::NetworkMode::kAllowlist:
      return "allowlist";
    case config::NetworkMode::kPublic:
      return "public";
  }
  return "none";
}

}  // namespace mcpbox::provision
