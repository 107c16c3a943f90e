#include "egress/rules/ip_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace mcpbox::egress {
namespace {

bool in_prefix(const std::uint8_t* bytes, const std::uint8_t* base, unsigned bits) {
  const unsigned whole = bits / 8, rest = bits % 8;
  if (std::memcmp(bytes, base, whole) != 0) return false;
  return rest == 0 || ((bytes[whole] ^ base[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

struct V4Range {
  std::uint8_t base[4];
  unsigned bits;
  AddressClass kind;
};
// More specific ranges first.
constexpr V4Range kV4[] = {
    {{169, 254, 169, 254}, 32, AddressClass::kMetadata},  // AWS, Azure, Google, OpenStack
    {{169, 254, 170, 2}, 32, AddressClass::kMetadata},    // AWS ECS
    {{100, 100, 100, 200}, 32, AddressClass::kMetadata},  // Alibaba
    {{192, 0, 0, 192}, 32, AddressClass::kMetadata},      // Oracle
    {{168, 63, 129, 16}, 32, AddressClass::kMetadata},    // Azure's WireServer: a public address that only guests reach
    {{0, 0, 0, 0}, 8, AddressClass::kUnspecified},        {{10, 0, 0, 0}, 8, AddressClass::kPrivate},
    {{100, 64, 0, 0}, 10, AddressClass::kCgnat},          {{127, 0, 0, 0}, 8, AddressClass::kLoopback},
    {{169, 254, 0, 0}, 16, AddressClass::kLinkLocal},     {{172, 16, 0, 0}, 12, AddressClass::kPrivate},
    {{192, 0, 0, 0}, 24, AddressClass::kReserved},        {{192, 0, 2, 0}, 24, AddressClass::kDocumentation},
    {{192, 88, 99, 0}, 24, AddressClass::kReserved},      {{192, 168, 0, 0}, 16, AddressClass::kPrivate},
    {{198, 18, 0, 0}, 15, AddressClass::kBenchmark},      {{198, 51, 100, 0}, 24, AddressClass::kDocumentation},
    {{203, 0, 113, 0}, 24, AddressClass::kDocumentation}, {{224, 0, 0, 0}, 4, AddressClass::kMulticast},
    {{255, 255, 255, 255}, 32, AddressClass::kMulticast}, {{240, 0, 0, 0}, 4, AddressClass::kReserved},
};

AddressClass classify_v4(const std::uint8_t* bytes) {
  for (const V4Range& range : kV4) {
    if (in_prefix(bytes, range.base, range.bits)) return range.kind;
  }
  return AddressClass::kPublic;
}

bool v6_in(const IpAddress& address, const char* base, unsigned bits) {
  in6_addr parsed{};
  ::inet_pton(AF_INET6, base, &parsed);
  return in_prefix(address.bytes.data(), parsed.s6_addr, bits);
}

AddressClass classify_v6(const IpAddress& a) {
  const std::uint8_t* b = a.bytes.data();
  if (v6_in(a, "::ffff:0:0", 96)) return classify_v4(b + 12);
  if (v6_in(a, "::", 128)) return AddressClass::kUnspecified;
  if (v6_in(a, "::1", 128)) return AddressClass::kLoopback;
  if (v6_in(a, "64:ff9b::", 96)) return classify_v4(b + 12);
  if (v6_in(a, "fd00:ec2::", 32)) return AddressClass::kMetadata;     // AWS
  if (v6_in(a, "fd20:ce::254", 128)) return AddressClass::kMetadata;  // Google
  if (v6_in(a, "fe80::", 10)) return AddressClass::kLinkLocal;
  if (v6_in(a, "fc00::", 7) || v6_in(a, "fec0::", 10)) return AddressClass::kPrivate;
  if (v6_in(a, "ff00::", 8)) return AddressClass::kMulticast;
  if (!v6_in(a, "2000::", 3)) return AddressClass::kReserved;
  if (v6_in(a, "2001:db8::", 32) || v6_in(a, "3fff::", 20)) return AddressClass::kDocumentation;
  if (v6_in(a, "2002::", 16)) return classify_v4(b + 2);
  if (v6_in(a, "2001::", 32)) {
    // Teredo: the server's address, and the client's with all bits flipped (RFC 4380, 4).
    std::uint8_t client[4];
    for (int i = 0; i < 4; ++i) client[i] = static_cast<std::uint8_t>(~b[12 + i]);
    const AddressClass server = classify_v4(b + 4);
    return server != AddressClass::kPublic ? server : classify_v4(client);
  }
  if (v6_in(a, "2001:2::", 48)) return AddressClass::kBenchmark;
  if (v6_in(a, "2001::", 23)) return AddressClass::kReserved;
  // ISATAP (RFC 5214, 6.1): the address of a host behind a router of ours.
  if ((b[8] & 0xfd) == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe) return classify_v4(b + 12);
  return AddressClass::kPublic;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  if (copy.size() > INET6_ADDRSTRLEN || copy.find('\0') != std::string::npos) return std::nullopt;
  IpAddress out;
  if (::inet_pton(AF_INET, copy.c_str(), out.bytes.data()) == 1) return out;
  out.bytes.fill(0);
  out.v6 = true;
  if (::inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) return out;
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::from_sockaddr(const sockaddr* address) {
  IpAddress out;
  if (address != nullptr && address->sa_family == AF_INET) {
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
    return out;
  }
  if (address != nullptr && address->sa_family == AF_INET6) {
    out.v6 = true;
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
    return out;
  }
  return std::nullopt;
}

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
  return buffer;
}

IpAddress IpAddress::unmapped() const {
  if (!v6 || !v6_in(*this, "::ffff:0:0", 96)) return *this;
  IpAddress out;
  std::memcpy(out.bytes.data(), bytes.data() + 12, 4);
  return out;
}

AddressClass classify(const IpAddress& address) {
  return address.v6 ? classify_v6(address) : classify_v4(address.bytes.data());
}

std::string_view class_name(AddressClass kind) {
  switch (kind) {
    case AddressClass::kPublic:
      return "public";
    case AddressClass::kUnspecified:
      return "unspecified";
    case AddressClass::kLoopback:
      return "loopback";
    case AddressClass::kPrivate:
      return "private";
    case AddressClass::kCgnat:
      return "carrier-grade NAT";
    case AddressClass::kLinkLocal:
      return "link-local";
    case AddressClass::kMetadata:
      return "cloud metadata";
    case AddressClass::kDocumentation:
      return "documentation";
    case AddressClass::kBenchmark:
      return "benchmark";
    case AddressClass::kMulticast:
      return "multicast";
    case AddressClass::kReserved:
      return "reserved";
  }
  return "reserved";
}

bool never_excepted(AddressClass kind) {
  return kind == AddressClass::kMetadata || kind == AddressClass::kUnspecified || kind == AddressClass::kMulticast;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is no address range: {}; write 10.1.0.0/16, fd00::/8 or one address",
                            text.substr(0, 80), why));
  };
  const std::size_t slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  if (!base) return wrong("the address cannot be read");
  Cidr out;
  out.base_ = base->unmapped();
  const unsigned width = out.base_.v6 ? 128 : 32;
  out.prefix_ = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.prefix_);
    if (error != std::errc() || end != digits.data() + digits.size() || out.prefix_ > width)
      return wrong("the prefix length is wrong");
    if (base->v6 && !out.base_.v6) return wrong("write an IPv4 range as such");
  }
  for (unsigned bit = out.prefix_; bit < width; ++bit) {
    if ((out.base_.bytes[bit / 8] >> (7 - bit % 8)) & 1) return wrong("bits are set after the prefix");
  }
  return out;
}

bool Cidr::contains(const IpAddress& address) const {
  const IpAddress plain = address.unmapped();
  return plain.v6 == base_.v6 && in_prefix(plain.bytes.data(), base_.bytes.data(), prefix_);
}

std::string Cidr::text() const {
  return fmt::format("{}/{}", base_.text(), prefix_);
}

bool HostAddresses::contains(const IpAddress& address) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (read_at_ < 0 || now.tv_sec - read_at_ >= 2) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) == 0) {
      known_.clear();
      for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
        if (const auto own = IpAddress::from_sockaddr(item->ifa_addr)) known_.push_back(own->unmapped());
      }
      ::freeifaddrs(list);
      read_at_ = now.tv_sec;
    }
  }
  return std::ranges::find(known_, address.unmapped()) != known_.end();
}

}  // namespace mcpbox::egress
