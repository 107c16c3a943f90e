#include "box/docker/address.h"

#include "base/text.h"
#include "base/url.h"

namespace mcpbox::box {
namespace {

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "engine address '" + printable(text, 300) + "': " + std::string(why) +
                                          "; use auto, native or unix:///PATH");
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
  const auto url = parse_url(text);
  if (!url) return bad(text, url.error().message());
  if (url->scheme == "ssh")
    return bad(text, "ssh is not supported (forward the socket: ssh -L /tmp/docker.sock:/var/run/docker.sock host)");
  if (url->scheme != "tcp" && url->scheme != "http" && url->scheme != "https")
    return bad(text, "this scheme is not supported");
  if (url->host.empty() || url->user || (!url->target.empty() && url->target != "/"))
    return bad(text, "it is not host:port");

  const bool secure = url->scheme == "https" || (url->scheme == "tcp" && (tls || !cert_path.empty()));
  const std::string host = url->host + ":" + (!url->port.empty() ? url->port : secure ? "2376" : "2375");
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
