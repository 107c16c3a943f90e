#include "egress/rules/host_name.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/secrets.h"
#include "base/text.h"

namespace mcpbox::egress {
namespace {

constexpr std::size_t kMaxName = 253, kMaxLabel = 63;

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool lower(char c) {
  return c >= 'a' && c <= 'z';
}

bool is_number(std::string_view label) {
  if (std::ranges::all_of(label, digit)) return true;
  if (!label.starts_with("0x")) return false;
  return std::ranges::all_of(label.substr(2), [](char c) { return digit(c) || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string HostName::authority() const {
  return literal && literal->v6 ? "[" + name + "]" : name;
}

Result<HostName> parse_host(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("'{}' is no host name: {}", from_outside(text, 100), why));
  };
  if (text.empty()) return wrong("it is empty");
  if (text.front() == '[') {
    if (text.back() != ']') return wrong("the bracket is not closed");
    const auto address = IpAddress::parse(text.substr(1, text.size() - 2));
    if (!address || !address->v6) return wrong("only an IPv6 address may stand in brackets");
    return HostName{address->text(), address};
  }
  if (text.back() == '.') text.remove_suffix(1);
  if (text.empty() || text.size() > kMaxName) return wrong("its length must be 1 to 253");
  std::string name(text);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (const auto address = IpAddress::parse(name); address && !address->v6) return HostName{address->text(), address};
  std::string_view last;
  for (const std::string_view label : split(name, '.')) {
    if (label.empty() || label.size() > kMaxLabel) return wrong("each label has 1 to 63 characters");
    if (!std::ranges::all_of(label, [](char c) { return lower(c) || digit(c) || c == '-'; })) {
      return wrong("only letters, digits, hyphens and dots may stand in it (international names as xn--…)");
    }
    if (label.front() == '-' || label.back() == '-') return wrong("a label may not begin or end with a hyphen");
    last = label;
  }
  if (is_number(last)) return wrong("it looks like an IP address in an unusual notation; write four decimal numbers");
  return HostName{std::move(name), std::nullopt};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text.front() == '0' || !std::ranges::all_of(text, digit)) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) value = value * 10 + static_cast<unsigned>(c - '0');
  if (value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return fail(Code::kInvalidArgument, fmt::format("'{}' has no port", printable(text, 100)));
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return fail(Code::kInvalidArgument, fmt::format("'{}' has no valid port", printable(text, 100)));
  auto host = parse_host(text.substr(0, colon));
  if (!host) return fail(std::move(host.error()));
  return HostPort{std::move(*host), *port};
}

}  // namespace mcpbox::egress
