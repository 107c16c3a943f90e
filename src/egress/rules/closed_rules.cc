#include "egress/rules/closed_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "egress/rules/destination.h"
#include "egress/rules/policy.h"

namespace mcpbox::egress {
namespace {

// RFC 6761 §6.3.
bool is_localhost(const HostName& host) {
  return host.name == "localhost" || host.name.ends_with(".localhost");
}

std::optional<IpAddress> address_of(const HostName& host, const std::map<std::string, std::string>& hosts) {
  if (host.literal) return host.literal;
  for (const auto& [name, text] : hosts) {
    const auto known = parse_host(name);
    if (known && *known == host) return IpAddress::parse(text);
  }
  return is_localhost(host) ? IpAddress::parse("127.0.0.1") : std::nullopt;
}

std::string what_opens(const HostName& host, const IpAddress& address, AddressClass kind) {
  const std::string text = address.text();
  std::string what = host.literal         ? fmt::format("{} is a {} address", text, class_name(kind))
                     : is_localhost(host) ? fmt::format("{} is a loopback address", host.name)
                                          : fmt::format("{} is {}, a {} address", host.name, text, class_name(kind));
  if (never_excepted(kind)) return what + ", which is never allowed";
  if (kind == AddressClass::kLoopback && (host.literal || is_localhost(host))) {
    return what +
           ": programs ask no proxy for it, and in the sandbox it is the server's own. Give the service of this "
           "machine a name: `egress: {hosts: {NAME: 127.0.0.1}, allow_private: [127.0.0.1]}` in the configuration, and "
           "a rule for NAME:PORT";
  }
  return what + fmt::format(", and those stay closed; to open it {}", how_to_open(text));
}

}  // namespace

std::vector<ClosedRule> closed_rules(const std::vector<std::string>& rules,
                                     const std::vector<std::string>& allow_private,
                                     const std::map<std::string, std::string>& hosts) {
  std::vector<Cidr> open;
  for (const std::string& range : allow_private) {
    if (auto read = Cidr::parse(range)) open.push_back(*read);
  }
  std::vector<ClosedRule> closed;
  for (const std::string& text : rules) {
    const auto rule = Rule::parse(text);
    if (!rule || !rule->exact()) continue;
    const auto address = address_of(rule->host(), hosts);
    if (!address) continue;
    const AddressClass kind = classify(*address);
    const bool opened = std::ranges::any_of(open, [&](const Cidr& range) { return range.contains(*address); });
    if (kind == AddressClass::kPublic || (opened && !never_excepted(kind))) continue;
    closed.push_back({text, what_opens(rule->host(), *address, kind)});
  }
  return closed;
}

}  // namespace mcpbox::egress
