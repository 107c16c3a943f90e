#include "egress/rules/ip_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace mcpbox::egress {
namespace {

namespace ip = boost::asio::ip;

template <class Network>
struct Range {
  Network network;
  AddressClass kind;
};

template <class Range>
bool contains(const Range& network, const decltype(network.address())& address) {
  return Range(address, network.prefix_length()).canonical() == network;
}

// The tables below are ours: a row that is no range is a fault of this file, found by its first use.
ip::network_v4 net4(const char* text) {
  boost::system::error_code error;
  const auto network = ip::make_network_v4(text, error);
  if (error || network != network.canonical()) std::abort();
  return network;
}
ip::network_v6 net6(const char* text) {
  boost::system::error_code error;
  const auto network = ip::make_network_v6(text, error);
  if (error || network != network.canonical()) std::abort();
  return network;
}

AddressClass classify_v4(const ip::address_v4& address) {
  // More specific ranges first.
  static const Range<ip::network_v4> kRanges[] = {
      {net4("169.254.169.254/32"), AddressClass::kMetadata},  // AWS, Azure, Google, OpenStack
      {net4("169.254.170.2/32"), AddressClass::kMetadata},    // AWS ECS
      {net4("100.100.100.200/32"), AddressClass::kMetadata},  // Alibaba
      {net4("192.0.0.192/32"), AddressClass::kMetadata},      // Oracle
      {net4("168.63.129.16/32"), AddressClass::kMetadata},    // Azure's WireServer: a public address that only guests
                                                              // reach
      {net4("0.0.0.0/8"), AddressClass::kUnspecified},
      {net4("10.0.0.0/8"), AddressClass::kPrivate},
      {net4("100.64.0.0/10"), AddressClass::kCgnat},
      {net4("127.0.0.0/8"), AddressClass::kLoopback},
      {net4("169.254.0.0/16"), AddressClass::kLinkLocal},
      {net4("172.16.0.0/12"), AddressClass::kPrivate},
      {net4("192.0.0.0/24"), AddressClass::kReserved},
      {net4("192.0.2.0/24"), AddressClass::kDocumentation},
      {net4("192.88.99.0/24"), AddressClass::kReserved},
      {net4("192.168.0.0/16"), AddressClass::kPrivate},
      {net4("198.18.0.0/15"), AddressClass::kBenchmark},
      {net4("198.51.100.0/24"), AddressClass::kDocumentation},
      {net4("203.0.113.0/24"), AddressClass::kDocumentation},
      {net4("224.0.0.0/4"), AddressClass::kMulticast},
      {net4("255.255.255.255/32"), AddressClass::kMulticast},
      {net4("240.0.0.0/4"), AddressClass::kReserved},
  };
  for (const auto& range : kRanges) {
    if (contains(range.network, address)) return range.kind;
  }
  return AddressClass::kPublic;
}

ip::address_v4 v4_at(const ip::address_v6::bytes_type& bytes, std::size_t at, std::uint8_t flipped = 0) {
  ip::address_v4::bytes_type out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = bytes[at + i] ^ flipped;
  return ip::address_v4(out);
}

AddressClass classify_v6(const ip::address_v6& address) {
  static const ip::network_v6 kMapped = net6("::ffff:0:0/96"), kNat64 = net6("64:ff9b::/96"), k6to4 = net6("2002::/16"),
                              kTeredo = net6("2001::/32"), kGlobal = net6("2000::/3");
  // More specific ranges first.
  static const Range<ip::network_v6> kRanges[] = {
      {net6("::/128"), AddressClass::kUnspecified},          {net6("::1/128"), AddressClass::kLoopback},
      {net6("fd00:ec2::/32"), AddressClass::kMetadata},     // AWS
      {net6("fd20:ce::254/128"), AddressClass::kMetadata},  // Google
      {net6("fe80::/10"), AddressClass::kLinkLocal},         {net6("fc00::/7"), AddressClass::kPrivate},
      {net6("fec0::/10"), AddressClass::kPrivate},           {net6("ff00::/8"), AddressClass::kMulticast},
      {net6("2001:db8::/32"), AddressClass::kDocumentation}, {net6("3fff::/20"), AddressClass::kDocumentation},
      {net6("2001:2::/48"), AddressClass::kBenchmark},       {net6("2001::/23"), AddressClass::kReserved},
  };
  const auto bytes = address.to_bytes();
  if (contains(kMapped, address) || contains(kNat64, address)) return classify_v4(v4_at(bytes, 12));
  if (contains(k6to4, address)) return classify_v4(v4_at(bytes, 2));
  if (contains(kTeredo, address)) {
    // The server's address, and the client's with all bits flipped (RFC 4380, 4).
    const AddressClass server = classify_v4(v4_at(bytes, 4));
    return server != AddressClass::kPublic ? server : classify_v4(v4_at(bytes, 12, 0xff));
  }
  for (const auto& range : kRanges) {
    if (contains(range.network, address)) return range.kind;
  }
  if (!contains(kGlobal, address)) return AddressClass::kReserved;
  // ISATAP (RFC 5214, 6.1): the address of a host behind a router of ours.
  if ((bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe)
    return classify_v4(v4_at(bytes, 12));
  return AddressClass::kPublic;
}

ip::address_v4 as_v4(const IpAddress& address) {
  return v4_at(address.bytes, 0);
}
ip::address_v6 as_v6(const IpAddress& address) {
  return ip::address_v6(address.bytes);
}

IpAddress from(const ip::address_v4& address) {
  IpAddress out;
  std::ranges::copy(address.to_bytes(), out.bytes.begin());
  return out;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  // Asio reads up to a NUL, and a zone behind "%": an address that is judged has neither.
  if (text.size() > INET6_ADDRSTRLEN || text.find_first_of(std::string_view("\0%", 2)) != std::string_view::npos)
    return std::nullopt;
  boost::system::error_code error;
  const ip::address read = ip::make_address(text, error);
  if (error) return std::nullopt;
  return read.is_v4() ? from(read.to_v4()) : IpAddress{true, read.to_v6().to_bytes()};
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
  return v6 ? as_v6(*this).to_string() : as_v4(*this).to_string();
}

IpAddress IpAddress::unmapped() const {
  if (!v6 || !as_v6(*this).is_v4_mapped()) return *this;
  return from(ip::make_address_v4(ip::v4_mapped, as_v6(*this)));
}

AddressClass classify(const IpAddress& address) {
  return address.v6 ? classify_v6(as_v6(address)) : classify_v4(as_v4(address));
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
  // A range contains its own base when that is the first of its addresses.
  if (!out.contains(out.base_)) return wrong("bits are set after the prefix");
  return out;
}

bool Cidr::contains(const IpAddress& address) const {
  const IpAddress plain = address.unmapped();
  if (plain.v6 != base_.v6) return false;
  const auto bits = static_cast<unsigned short>(prefix_);
  return base_.v6 ? egress::contains(ip::network_v6(as_v6(base_), bits), as_v6(plain))
                  : egress::contains(ip::network_v4(as_v4(base_), bits), as_v4(plain));
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
