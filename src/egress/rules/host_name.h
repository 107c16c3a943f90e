// The one spelling of a host that the egress proxy accepts and compares.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "egress/rules/ip_address.h"

namespace mcpbox::egress {

struct HostName {
  std::string name;  // lower case, without trailing dot; for a literal its canonical text without brackets
  std::optional<IpAddress> literal;  // set when the host is an IP address

  // As it stands in a URL's authority or a Host header: IPv6 in brackets.
  std::string authority() const;
  bool operator==(const HostName& other) const { return name == other.name; }
};

// Letters, digits, hyphens in labels of 1–63, 253 in all, one trailing dot removed, lower-cased; international names as
// punycode. IPv6 literals in brackets. Everything that some resolver reads as an address though it is not its canonical
// text (127.1, 0x7f000001, 0177.0.0.1, 2130706433) is refused, because its last label is a number (WHATWG URL, "ends in
// a number"). kInvalidArgument says what is wrong.
Result<HostName> parse_host(std::string_view text);

struct HostPort {
  HostName host;
  std::uint16_t port = 0;
};

// Decimal, 1–65535, no sign, no leading zero.
std::optional<std::uint16_t> parse_port(std::string_view text);
// "host:port" as CONNECT carries it: the port is required.
Result<HostPort> parse_host_port(std::string_view text);

}  // namespace mcpbox::egress
