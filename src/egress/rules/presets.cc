#include "egress/rules/presets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "base/url.h"
#include "egress/rules/host_name.h"
#include "egress/rules/policy.h"

namespace mcpbox::egress {
namespace {

constexpr std::array<std::string_view, 5> kPresets = {"pypi", "npm", "debian", "crates", "go"};
constexpr std::size_t kMaxText = 256u << 10;

class Rules {
 public:
  void add(std::string rule) {
    if (std::ranges::find(rules_, rule) == rules_.end()) rules_.push_back(std::move(rule));
  }
  // The host and port of a URL; false when it has none.
  bool add_url(std::string_view url) {
    url = trim(url);
    if (url.starts_with("sparse+")) url.remove_prefix(7);
    const auto parsed = parse_url(url);
    if (!parsed || (parsed->scheme != "http" && parsed->scheme != "https")) return false;
    if (!parsed->port.empty() && !parse_port(parsed->port)) return false;
    const auto host = parse_host(parsed->host);
    if (!host) return false;
    add(parsed->port.empty() ? host->authority() : host->authority() + ":" + parsed->port);
    return true;
  }
  std::vector<std::string> take() { return std::move(rules_); }

 private:
  std::vector<std::string> rules_;
};

std::string unquoted(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front())
    text = text.substr(1, text.size() - 2);
  return std::string(text);
}

// "key = value" lines, and their indented continuations (pip's extra-index-url takes several). Enough for pip.conf,
// .npmrc and uv.toml.
std::vector<std::pair<std::string, std::string>> settings_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string_view line : split(text.substr(0, kMaxText), '\n')) {
    const std::string_view trimmed = trim(line);
    if (trimmed.empty() || trimmed.front() == '#' || trimmed.front() == ';' || trimmed.front() == '[') continue;
    if ((line.front() == ' ' || line.front() == '\t') && !out.empty() && !trimmed.contains('=')) {
      out.emplace_back(out.back().first, unquoted(trimmed));
      continue;
    }
    const std::size_t equals = trimmed.find('=');
    if (equals == std::string_view::npos) continue;
    out.emplace_back(std::string(trim(trimmed.substr(0, equals))), unquoted(trimmed.substr(equals + 1)));
  }
  return out;
}

class UserSettings {
 public:
  explicit UserSettings(const SettingsReader& settings) : settings_(settings) {}
  std::optional<std::string> env(const std::string& name) const {
    auto value = settings_.environment ? settings_.environment(name) : std::nullopt;
    return value && !trim(*value).empty() ? value : std::nullopt;
  }
  std::vector<std::pair<std::string, std::string>> file(const std::string& path) const {
    const auto text = settings_.file ? settings_.file(path) : std::nullopt;
    return text ? settings_of(*text) : std::vector<std::pair<std::string, std::string>>{};
  }
  std::string home(std::string_view path) const { return settings_.home + "/" + std::string(path); }

 private:
  const SettingsReader& settings_;
};

// The one that pip and uv read last, and so obey, comes last.
std::vector<std::string> pip_files(const UserSettings& read) {
  std::vector<std::string> files = {"/etc/xdg/pip/pip.conf", "/etc/pip.conf", read.home(".pip/pip.conf"),
                                    read.home(".config/pip/pip.conf")};
  if (const auto path = read.env("PIP_CONFIG_FILE")) files.push_back(*path);
  return files;
}
std::vector<std::string> uv_files(const UserSettings& read) {
  std::vector<std::string> files = {"/etc/uv/uv.toml", read.home(".config/uv/uv.toml")};
  if (const auto path = read.env("UV_CONFIG_FILE")) files.push_back(*path);
  return files;
}
std::vector<std::string> npm_files(const UserSettings& read) {
  return {"/usr/etc/npmrc", "/etc/npmrc", read.env("NPM_CONFIG_USERCONFIG").value_or(read.home(".npmrc"))};
}

std::vector<std::string> pypi(const UserSettings& read) {
  Rules rules;
  bool replaced = false;
  for (const char* name : {"PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"}) {
    if (const auto url = read.env(name)) replaced |= rules.add_url(*url);
  }
  for (const char* name :
       {"PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "PIP_FIND_LINKS", "UV_FIND_LINKS"}) {
    for (const std::string_view word : split(read.env(name).value_or(""), ' '))
      rules.add_url(word.substr(word.starts_with("http") ? 0 : word.find('=') + 1));
  }
  std::vector<std::string> files = pip_files(read);
  for (std::string& path : uv_files(read)) files.push_back(std::move(path));
  for (const std::string& path : files) {
    for (const auto& [key, value] : read.file(path)) {
      if (key == "index-url" || key == "url") replaced |= rules.add_url(value);
      if (key == "extra-index-url" || key == "find-links") rules.add_url(value);
    }
  }
  if (!replaced) {
    rules.add("pypi.org");
    rules.add("files.pythonhosted.org");
  }
  return rules.take();
}

std::vector<std::string> npm(const UserSettings& read) {
  Rules rules;
  bool replaced = false;
  for (const char* name : {"npm_config_registry", "NPM_CONFIG_REGISTRY"}) {
    if (const auto url = read.env(name)) replaced |= rules.add_url(*url);
  }
  for (const std::string& path : npm_files(read)) {
    for (const auto& [key, value] : read.file(path)) {
      if (key == "registry") replaced |= rules.add_url(value);
      if (key.starts_with('@') && key.ends_with(":registry")) rules.add_url(value);
    }
  }
  if (!replaced) rules.add("registry.npmjs.org");
  return rules.take();
}

std::vector<std::string> go(const UserSettings& read) {
  Rules rules;
  bool replaced = false;
  std::string proxies = read.env("GOPROXY").value_or("");
  std::ranges::replace(proxies, '|', ',');
  for (const std::string_view url : split(proxies, ',')) replaced |= rules.add_url(url);
  if (!replaced) rules.add("proxy.golang.org");
  const std::string sums = read.env("GOSUMDB").value_or("sum.golang.org");
  if (sums != "off" && !replaced) rules.add("sum.golang.org");
  return rules.take();
}

std::vector<std::string> crates(const UserSettings& read) {
  Rules rules;
  bool replaced = false;
  for (const auto& [key, value] : read.file(read.home(".cargo/config.toml"))) {
    if (key == "registry") replaced |= rules.add_url(value);
    if (key == "index") rules.add_url(value);
  }
  if (!replaced) {
    for (const char* host : {"index.crates.io", "static.crates.io", "crates.io"}) rules.add(host);
  }
  return rules.take();
}

void add_word(std::string& words, const std::string& word) {
  if (!words.empty()) words += ' ';
  words += word;
}

void python_variables(const UserSettings& read, std::map<std::string, std::string>& out) {
  for (const std::string& path : pip_files(read)) {
    std::string extra;
    for (const auto& [key, value] : read.file(path)) {
      if (value.empty()) continue;
      if (key == "index-url") out["PIP_INDEX_URL"] = value;
      if (key == "extra-index-url") add_word(extra, value);
    }
    if (!extra.empty()) out["PIP_EXTRA_INDEX_URL"] = extra;
  }
  for (const std::string& path : uv_files(read)) {
    std::string url, more;
    for (const auto& [key, value] : read.file(path)) {
      if (key == "index-url") out["UV_DEFAULT_INDEX"] = value;
      if (key == "url") {
        if (!url.empty()) add_word(more, url);
        url = value;
      }
      if (key == "default" && value == "true" && !url.empty()) out["UV_DEFAULT_INDEX"] = std::exchange(url, {});
    }
    if (!url.empty()) add_word(more, url);
    if (!more.empty()) out["UV_INDEX"] = more;
  }
}

void npm_variables(const UserSettings& read, std::map<std::string, std::string>& out) {
  for (const std::string& path : npm_files(read)) {
    for (const auto& [key, value] : read.file(path)) {
      // "${NAME}" is npm's own way to keep a secret out of the file.
      if (value.empty() || value.contains("${")) continue;
      if (key == "registry") out["npm_config_registry"] = value;
      if (key.starts_with('@') && key.ends_with(":registry")) out["npm_config_" + key] = value;
    }
  }
}

}  // namespace

Result<std::vector<std::string>> preset_rules(std::string_view preset, const SettingsReader& settings) {
  const UserSettings read(settings);
  if (preset == "pypi") return pypi(read);
  if (preset == "npm") return npm(read);
  if (preset == "debian") return std::vector<std::string>{"deb.debian.org", "security.debian.org"};
  if (preset == "crates") return crates(read);
  if (preset == "go") return go(read);
  return fail(Code::kInvalidArgument,
              fmt::format("'{}' is no preset; there are {}", printable(preset, 40), fmt::join(kPresets, ", ")));
}

Result<std::vector<std::string>> expand_presets(const std::vector<std::string>& entries,
                                                const SettingsReader& settings) {
  std::vector<std::string> out;
  for (const std::string& entry : entries) {
    if (std::ranges::find(kPresets, entry) == kPresets.end()) {
      out.push_back(entry);
      continue;
    }
    auto rules = preset_rules(entry, settings);
    if (!rules) return fail(std::move(rules.error()));
    for (std::string& rule : *rules) {
      if (std::ranges::find(out, rule) == out.end()) out.push_back(std::move(rule));
    }
  }
  return out;
}

std::map<std::string, std::string> registry_variables(const SettingsReader& settings) {
  const UserSettings read(settings);
  std::map<std::string, std::string> out;
  python_variables(read, out);
  npm_variables(read, out);
  for (const char* name : {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
                           "npm_config_registry", "NPM_CONFIG_REGISTRY"}) {
    if (const auto value = read.env(name)) out[name] = *value;
  }
  // npm reads either spelling, and the one in the environment is meant.
  if (read.env("NPM_CONFIG_REGISTRY") && !read.env("npm_config_registry")) out.erase("npm_config_registry");
  // uv does not read pip's settings; the environments are made with uv.
  if (out.contains("PIP_INDEX_URL") && !out.contains("UV_DEFAULT_INDEX") && !out.contains("UV_INDEX_URL"))
    out["UV_DEFAULT_INDEX"] = out["PIP_INDEX_URL"];
  if (out.contains("PIP_EXTRA_INDEX_URL") && !out.contains("UV_INDEX")) out["UV_INDEX"] = out["PIP_EXTRA_INDEX_URL"];
  return out;
}

}  // namespace mcpbox::egress
