#include "provision/install/env_resolved.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "json/value.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxLock = 1u << 20;  // what PID 1 reads at once
constexpr std::size_t kMaxName = 214;       // npm's own limit

bool plain(std::string_view text, std::string_view also) {
  return !text.empty() && text.size() <= kMaxName && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           also.find(c) != std::string_view::npos;
  });
}

// PEP 503: names are equal when they are equal so.
std::string normal(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const char one = lower == '_' || lower == '.' ? '-' : lower;
    if (one != '-' || !out.ends_with('-')) out += one;
  }
  return out;
}

// The name in a requirement or an npm spec, or in a "name==1" or "name@1" of ours.
std::string name_in(std::string_view text) {
  const std::size_t from = text.starts_with('@') ? 1 : 0;
  return normal(text.substr(0, text.find_first_of("@=<>~![; ", from)));
}

Task<std::vector<std::string>> python_packages(box::Supervisor& supervisor, std::string environment) {
  std::vector<std::string> found;
  auto versions = co_await supervisor.list_directory(environment + "/lib");
  if (!versions) co_return found;
  for (const std::string& version : *versions) {
    if (!version.starts_with("python3.")) continue;
    auto names = co_await supervisor.list_directory(environment + "/lib/" + version + "/site-packages");
    if (!names) continue;
    for (const std::string& name : *names) {
      if (std::string one = python_distribution_of(name); !one.empty()) found.push_back(std::move(one));
    }
  }
  co_return found;
}

Task<std::vector<std::string>> node_packages(box::Supervisor& supervisor, std::string modules) {
  if (auto lock = co_await supervisor.read_file(modules + "/.package-lock.json", kMaxLock))
    co_return npm_packages_of(*lock);
  std::vector<std::string> found;
  if (auto names = co_await supervisor.list_directory(modules + "/.pnpm")) {
    for (const std::string& name : *names) {
      if (std::string one = pnpm_package_of(name); !one.empty()) found.push_back(std::move(one));
    }
    co_return found;
  }
  // yarn, or a lock file that is too large: the packages of the first level say it themselves.
  constexpr std::size_t kAsked = 300;
  auto names = co_await supervisor.list_directory(modules);
  if (!names) co_return found;
  std::vector<std::string> packages;
  for (const std::string& name : *names) {
    if (name.starts_with('.')) continue;
    if (!name.starts_with('@')) {
      packages.push_back(name);
    } else if (auto scoped = co_await supervisor.list_directory(modules + "/" + name)) {
      for (const std::string& inner : *scoped) packages.push_back(name + "/" + inner);
    }
  }
  if (packages.size() > kAsked) packages.resize(kAsked);
  for (const std::string& package : packages) {
    auto text = co_await supervisor.read_file(modules + "/" + package + "/package.json", 64u << 10);
    const auto manifest = text ? json::Value::parse(*text) : fail(text.error());
    if (!manifest || !plain(package, "@/._-")) continue;
    const std::string version = (*manifest)["version"].string_or();
    if (plain(version, ".-+")) found.push_back(package + "@" + version);
  }
  co_return found;
}

}  // namespace

std::string python_distribution_of(const std::string& directory) {
  constexpr std::string_view kEnd = ".dist-info";
  if (!directory.ends_with(kEnd)) return {};
  const std::string_view both = std::string_view(directory).substr(0, directory.size() - kEnd.size());
  const std::size_t dash = both.rfind('-');
  if (dash == std::string_view::npos || !plain(both.substr(0, dash), "._-") || !plain(both.substr(dash + 1), ".!+_"))
    return {};
  return normal(both.substr(0, dash)) + "==" + std::string(both.substr(dash + 1));
}

std::string pnpm_package_of(const std::string& directory) {
  std::string name = directory.substr(0, directory.find('('));
  const std::size_t at = name.find('@', 1);
  if (at == std::string::npos) return {};
  name = name.substr(0, name.find('_', at));
  if (name.starts_with('@')) {
    const std::size_t plus = name.find('+');
    if (plus == std::string::npos || plus > at) return {};
    name[plus] = '/';
  }
  if (!plain(name.substr(0, at), "@/._-") || !plain(name.substr(at + 1), ".-+")) return {};
  return name;
}

std::vector<std::string> npm_packages_of(std::string_view hidden_lock) {
  std::vector<std::string> found;
  const auto lock = json::Value::parse(hidden_lock);
  if (!lock) return found;
  constexpr std::string_view kFolder = "node_modules/";
  for (const auto& [path, entry] : (*lock)["packages"].members()) {
    const std::size_t at = path.rfind(kFolder);
    if (at == std::string::npos) continue;
    const std::string name = path.substr(at + kFolder.size());
    const std::string version = entry["version"].string_or();
    if (plain(name, "@/._-") && plain(version, ".-+")) found.push_back(name + "@" + version);
  }
  return found;
}

Task<void> read_resolved(box::Supervisor& supervisor, const workspace::InstallPlan& plan, EnvRecord& record) {
  std::vector<std::string> found = plan.manager == "uv"
                                       ? co_await python_packages(supervisor, plan.environment)
                                       : co_await node_packages(supervisor, plan.environment + "/node_modules");
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::set<std::string> named;
  for (const std::string& one : plan.asked) named.insert(name_in(one));
  std::sort(found.begin(), found.end(), [&](const std::string& a, const std::string& b) {
    const bool a_named = named.contains(name_in(a));
    return a_named != named.contains(name_in(b)) ? a_named : a < b;
  });
  record.packages = found.size();
  record.resolved = std::move(found);
}

}  // namespace mcpbox::provision
