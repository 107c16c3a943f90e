#include "config/shares.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "base/text.h"

namespace mcpbox::config {
namespace {

struct Share {
  std::string_view key;
  std::string_view unit;
  double (*of_sandbox)(const Limits&);
  std::optional<double> (*of_server)(const ServerBoxSettings&);
  bool added_up;
};

template <class T>
std::optional<double> number(const std::optional<T>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

constexpr std::array kShares{
    Share{"memory_mb", " MiB", [](const Limits& limits) { return static_cast<double>(limits.memory_mb); },
          [](const ServerBoxSettings& box) { return number(box.memory_mb); }, true},
    Share{"pids_limit", "", [](const Limits& limits) { return static_cast<double>(limits.pids); },
          [](const ServerBoxSettings& box) { return number(box.pids_limit); }, true},
    Share{"cpus", "", [](const Limits& limits) { return limits.cpus; },
          [](const ServerBoxSettings& box) { return box.cpus; }, false},
};

// "a 1024 + b 1024"; of many only the first ones.
std::string sum_of(const std::vector<std::pair<std::string_view, double>>& named) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < named.size() && i < kShown; ++i)
    text += fmt::format("{}'{}' {}", i == 0 ? "" : " + ", printable(named[i].first, 70), named[i].second);
  if (named.size() > kShown) text += fmt::format(" + {} more", named.size() - kShown);
  return text;
}

void check_share(Decoder& decoder, const Limits& limits, const Share& share,
                 const std::vector<const ServerSettings*>& servers) {
  const double there = share.of_sandbox(limits);
  std::vector<std::pair<std::string_view, double>> named;
  const ServerSettings* first = nullptr;
  double sum = 0;
  for (const ServerSettings* server : servers) {
    const auto own = share.of_server(server->box);
    if (!own) continue;
    Node place;
    place.line = server->line, place.column = server->column;
    if (*own > there) {  // and the others may be too much among themselves
      decoder.problem(
          place,
          fmt::format("server '{0}' names {1}: {2}, and the sandbox that it shares has {3}{4} (box.limits.{1}); "
                      "give it `isolation: dedicated` and it has a sandbox of that size, or raise box.limits.{1} "
                      "to {2}, or lower this one",
                      printable(server->name, 70), share.key, *own, there, share.unit));
      continue;
    }
    if (first == nullptr) first = server;
    sum += *own;
    named.emplace_back(server->name, *own);
  }
  // Sums of decimal fractions are a little off.
  constexpr double kRounding = 1e-6;
  if (!share.added_up || first == nullptr || sum <= there * limits.overcommit + kRounding) return;
  Node place;
  place.line = first->line, place.column = first->column;
  const std::string factor = limits.overcommit == 1 ? "" : fmt::format(", times overcommit {}", limits.overcommit);
  decoder.problem(
      place,
      fmt::format(
          "what these servers name as {0} does not fit into the sandbox that they share: {1} = {2:.10g}{3}, and "
          "box.limits.{0} is {4}{3}{5}; raise that to {2:.10g}, lower theirs, give one of them "
          "`isolation: dedicated`, or allow it with box.limits.overcommit: {6:.2f}",
          share.key, sum_of(named), sum, share.unit, there, factor, std::ceil(sum / there * 100 - kRounding) / 100));
}

bool shares(const ServerSettings& server) {
  return server.box.isolation != Isolation::kDedicated && server.box.mounts.empty();
}

// Of the sandbox that it shares.
std::pair<std::string, bool> sandbox_key(const Settings& settings, const ServerSettings& server) {
  return {server.box.image.value_or(settings.box.image), server.box.read_only_rootfs.value_or(true)};
}

}  // namespace

std::vector<std::string> sharing_with(const Settings& settings, const ServerSettings& server) {
  std::vector<std::string> names;
  if (!shares(server)) return names;
  for (const ServerSettings& other : settings.servers) {
    if (other.name == server.name || !other.enable || !shares(other)) continue;
    if (sandbox_key(settings, other) == sandbox_key(settings, server)) names.push_back(other.name);
  }
  return names;
}

void check_shares(Decoder& decoder, const Settings& settings) {
  std::map<std::pair<std::string, bool>, std::vector<const ServerSettings*>> sandboxes;
  for (const ServerSettings& server : settings.servers) {
    if (server.enable && shares(server)) sandboxes[sandbox_key(settings, server)].push_back(&server);
  }
  for (const auto& [sandbox, servers] : sandboxes) {
    for (const Share& share : kShares) check_share(decoder, settings.box.limits, share, servers);
  }
}

}  // namespace mcpbox::config
