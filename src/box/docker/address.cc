#include "box/docker/address.h"

#include <algorithm>

#include "base/text.h"

namespace mcpbox::box {
namespace {

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_' || c == ':' || c == '[' || c == ']';
}

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "engine address '" + printable(text, 300) + "': " + std::string(why) +
                                          "; use unix:///path/to/docker.sock, tcp://host:port or https://host:port");
}

}  // namespace

Result<DockerAddress> parse_docker_address(std::string_view text, std::string_view cert_path, bool tls) {
  DockerAddress address;
  if (text.starts_with("unix://") || text.starts_with('/')) {
    const auto path = text.starts_with('/') ? text : text.substr(7);
    if (!path.starts_with('/')) return bad(text, "the socket's path must be absolute");
    address.text = "unix://" + std::string(path);
    address.unix_socket = path;
    address.base_url = "http://engine";
    return address;
  }
  const auto separator = text.find("://");
  if (separator == text.npos) return bad(text, "it has no scheme");
  const auto scheme = text.substr(0, separator);
  auto authority = text.substr(separator + 3);
  if (authority.ends_with('/')) authority.remove_suffix(1);
  if (scheme == "ssh")
    return bad(text, "ssh is not supported (forward the socket: ssh -L /tmp/docker.sock:/var/run/docker.sock host)");
  if (scheme != "tcp" && scheme != "http" && scheme != "https") return bad(text, "this scheme is not supported");
  if (authority.empty() || !std::ranges::all_of(authority, is_host_character)) return bad(text, "it is not host:port");

  const bool secure = scheme == "https" || (scheme == "tcp" && (tls || !cert_path.empty()));
  std::string host(authority);
  const auto colon = host.rfind(':');
  const auto bracket = host.rfind(']');
  const bool has_port = colon != host.npos && (bracket == host.npos || colon > bracket);
  if (!has_port) host += secure ? ":2376" : ":2375";
  address.base_url = (secure ? "https://" : "http://") + host;
  address.text = (secure ? "https://" : "tcp://") + host;
  if (secure && !cert_path.empty()) {
    const std::string folder(cert_path);
    address.tls.ca_bundle = folder + "/ca.pem";
    address.tls.client_cert = folder + "/cert.pem";
    address.tls.client_key = folder + "/key.pem";
  }
  return address;
}

}  // namespace mcpbox::box
