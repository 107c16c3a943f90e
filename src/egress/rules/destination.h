// Which addresses the proxy may connect to at all, whatever the policy of a server says: the daemon's network settings.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "egress/rules/host_name.h"
#include "egress/rules/ip_address.h"

namespace mcpbox::egress {

// A proxy of the company's, which then resolves the names.
struct UpstreamProxy {
  HostPort address;
  Secret authorization;  // value of Proxy-Authorization; empty = none

  // "http://[user:password@]host:port". The operator's own configuration: its address is not judged.
  static Result<UpstreamProxy> parse(std::string_view url);
};

struct NetworkSettings {
  std::map<std::string, IpAddress> hosts;  // instead of DNS; the address is judged like any other
  std::vector<Cidr> allow_private;         // exceptions, for rules that name exactly one host
  std::optional<UpstreamProxy> upstream;
};

// How far the rule that allowed a host goes with its address.
enum class Trust {
  kPublic,    // a wildcard, or `mode: public`
  kNamed,     // a rule of exactly this host: what `allow_private` covers as well
  kRegistry,  // of a registry that the user's own settings name, for an install: also private and reserved addresses,
              // as company mirrors, split DNS and intercepting gateways have them; never loopback, link-local,
              // metadata, multicast, or this machine
};

class Destinations {
 public:
  Destinations() = default;
  explicit Destinations(NetworkSettings settings) : settings_(std::move(settings)) {}
  void configure(NetworkSettings settings) { settings_ = std::move(settings); }
  const NetworkSettings& settings() const { return settings_; }

  // Judges the address that is about to be connected to. kPermissionDenied says which kind of address it is and what
  // would allow it.
  Result<void> check(const IpAddress& address, Trust trust);

 private:
  NetworkSettings settings_;
  HostAddresses own_;
};

// What somebody has to do that servers reach a private address, for a sentence: "add `egress.allow_private:
// [10.0.0.1]`".
std::string how_to_open(std::string_view address);

}  // namespace mcpbox::egress
