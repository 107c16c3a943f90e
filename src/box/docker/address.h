// Where a Docker-compatible engine listens, as DOCKER_HOST spells it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http_client.h"

namespace mcpbox::box {

struct DockerAddress {
  std::string text;         // as shown to people: "unix:///…", "tcp://10.0.0.5:2375", "https://10.0.0.5:2376"
  std::string unix_socket;  // empty for TCP
  std::string base_url;     // "http://engine" for a unix socket
  net::HttpTls tls;         // from DOCKER_CERT_PATH: ca.pem, cert.pem, key.pem
};

// unix:///path, an absolute path, tcp://host[:port], http://…, https://…. `cert_path` is DOCKER_CERT_PATH; tcp means
// https when `tls` (DOCKER_TLS_VERIFY) is set or a cert_path is given, and the port defaults to 2376 then, else to
// 2375. The server's certificate is always verified.
Result<DockerAddress> parse_docker_address(std::string_view text, std::string_view cert_path = {}, bool tls = false);

}  // namespace mcpbox::box
