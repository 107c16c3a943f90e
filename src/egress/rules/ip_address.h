// IP addresses as the egress proxy judges them: what kind of destination the bytes of a sockaddr stand for.
//
// The proxy classifies the address that it is about to connect to, never a name or a spelling.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct sockaddr;

namespace mcpbox::egress {

struct IpAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // the first four for IPv4

  // Only the canonical notations: four decimal numbers, or RFC 4291 text without zone. Octal, hexadecimal and short
  // forms are none.
  static std::optional<IpAddress> parse(std::string_view text);
  static std::optional<IpAddress> from_sockaddr(const sockaddr* address);
  std::string text() const;
  // ::ffff:a.b.c.d as a.b.c.d; all else unchanged.
  IpAddress unmapped() const;
  bool operator==(const IpAddress&) const = default;
};

enum class AddressClass {
  kPublic,
  kUnspecified,    // 0.0.0.0/8, ::; the kernel takes it for loopback
  kLoopback,       //
  kPrivate,        // RFC 1918, fc00::/7, fec0::/10
  kCgnat,          // 100.64.0.0/10
  kLinkLocal,      //
  kMetadata,       // the clouds' instance metadata services
  kDocumentation,  //
  kBenchmark,      //
  kMulticast,      // and broadcast
  kReserved,       // everything that IANA has not assigned as global unicast
};

// Addresses that carry an IPv4 address (mapped, NAT64, 6to4, Teredo, ISATAP) are what the embedded address is.
// Source: the IANA special-purpose registries (RFC 6890 and successors).
AddressClass classify(const IpAddress& address);
// "private", "link-local", … for messages.
std::string_view class_name(AddressClass kind);
// No exception can open these: metadata, unspecified, multicast.
bool never_excepted(AddressClass kind);

// "10.1.0.0/16", "fd00::/8", or one address.
class Cidr {
 public:
  // kInvalidArgument when it is no address and prefix, or bits beyond the prefix are set.
  static Result<Cidr> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
  std::string text() const;

 private:
  IpAddress base_;
  unsigned prefix_ = 0;
};

// The addresses of this machine's interfaces (getifaddrs(3)), read anew when older than two seconds.
class HostAddresses {
 public:
  bool contains(const IpAddress& address);

 private:
  std::vector<IpAddress> known_;
  std::int64_t read_at_ = -1;  // CLOCK_MONOTONIC seconds
};

}  // namespace mcpbox::egress
