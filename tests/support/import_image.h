// Makes an image of a tar archive, through a Docker-compatible engine's API: the program itself never does.
#pragma once

#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "base/url.h"
#include "box/docker/address.h"
#include "net/http_client.h"
#include "support/run_task.h"

namespace mcpbox::test {

// `reference`: "name:tag"; `changes`: lines of a Dockerfile. Empty, or what went wrong.
inline std::string import_image(boost::asio::io_context& loop, const std::string& engine, const std::string& tar_path,
                                const std::string& reference, const std::vector<std::string>& changes = {}) {
  auto address = box::parse_docker_address(engine);
  if (!address) return address.error().message();
  const auto colon = reference.find(':');
  net::HttpRequest request;
  request.method = "POST";
  request.url = address->base_url + "/images/create?fromSrc=-&repo=" + percent_encode(reference.substr(0, colon)) +
                "&tag=" + percent_encode(reference.substr(colon + 1));
  for (const std::string& change : changes) request.url += "&changes=" + percent_encode(change);
  request.unix_socket = address->unix_socket;
  request.headers.emplace_back("Content-Type", "application/x-tar");
  request.body_file = tar_path;
  request.total_timeout = std::chrono::seconds(60);
  net::HttpClient http(loop.get_executor());
  auto answer = run_task(loop, http.fetch(std::move(request)));
  if (!answer) return answer.error().message();
  return answer->status == 200 && answer->body.find("\"error\"") == std::string::npos ? std::string() : answer->body;
}

}  // namespace mcpbox::test
