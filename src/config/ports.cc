#include "config/ports.h"

#include <fmt/format.h>

#include <charconv>

#include "base/way_out.h"

namespace mcpbox::config {
namespace {

constexpr std::uint16_t kFirstFreePort = 1024;  // ip(7): ip_unprivileged_port_start

// 0 where the text is no port.
std::uint16_t port_of(std::string_view text) {
  std::uint16_t port = 0;
  if (text.starts_with('0')) return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() ? port : std::uint16_t{0};
}

}  // namespace

Result<PublishedPort> parse_port(std::string_view text) {
  const std::size_t colon = text.find(':');
  PublishedPort port;
  port.host = port_of(text.substr(0, colon));
  port.server = colon == std::string_view::npos ? port.host : port_of(text.substr(colon + 1));
  if (port.host == 0 || port.server == 0) {
    return fail(
        Code::kInvalidArgument,
        "expected PORT, or HOST:SERVER where the server listens on another one, each 1 to 65535: 8080, 8080:3000");
  }
  if (port.server < kFirstFreePort) {
    return fail(Code::kInvalidArgument,
                fmt::format("the server cannot listen on {}: nobody is root in its sandbox, and ports below {} are "
                            "root's; let it listen on another, as in {}:8080",
                            port.server, kFirstFreePort, port.host));
  }
  if (port.server == kEgressPort) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("the server cannot listen on {}: in its sandbox that is the way to the egress proxy; let it "
                    "listen on another, as in {}:3000",
                    kEgressPort, port.host));
  }
  return port;
}

}  // namespace mcpbox::config
