// One engine's REST API: versioned paths, time-outs, and errors that say what the engine said. For this folder alone.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/docker/address.h"
#include "box/engine.h"
#include "net/http_client.h"
#include "net/task.h"

namespace mcpbox::box {

struct DockerOptions {
  std::chrono::milliseconds connect_timeout{3000};
  std::chrono::milliseconds call_timeout{10000};
  std::chrono::milliseconds start_timeout{60000};        // create, start, remove
  std::chrono::milliseconds image_idle_timeout{120000};  // image operations: without a word from the engine
  std::uint64_t max_answer_bytes = 16ull << 20;
  // File in which is remembered what of spaces.h this engine lets containers have; empty = found out anew.
  std::string spaces_note;
};

// What the engine can do, asked once.
struct DockerFacts {
  EngineInfo info;
  int api_minor = 0;  // negotiated 1.x
  unsigned cpus = 0;  // 0 = unknown
  bool swap_limit = true;
  bool podman = false;
};

class DockerClient {
 public:
  using Query = std::vector<std::pair<std::string, std::string>>;
  struct Call {
    std::string method = "GET";
    std::string path;  // without the version: "/containers/json"
    Query query;
    std::string json_body;
    std::chrono::milliseconds timeout{0};       // 0 = options.call_timeout, unless idle_timeout is set
    std::chrono::milliseconds idle_timeout{0};  // set: no limit in total
    std::function<Result<void>(std::string_view)> on_body;
  };

  DockerClient(boost::asio::any_io_executor executor, DockerAddress address, DockerOptions options);

  // Negotiates the API version if that has not happened; forgets it again when the engine stops answering.
  Task<Result<DockerFacts>> facts();
  void forget_facts() { facts_.reset(); }
  // Answers above 399 become errors: 400 kInvalidArgument, 401 kUnauthenticated, 403 kPermissionDenied, 404 kNotFound,
  // 409 kAlreadyExists, 502–504 kUnavailable, other kFailedPrecondition, a full disk kResourceExhausted.
  Task<Result<std::string>> call(Call call);

  const DockerOptions& options() const { return options_; }
  const DockerAddress& address() const { return address_; }

 private:
  Task<Result<net::HttpResponse>> send(Call call, std::string prefix);

  net::HttpClient http_;
  DockerAddress address_;
  DockerOptions options_;
  std::optional<DockerFacts> facts_;
};

// The engine's words as an error of ours; `status` 0 for an error inside a stream of progress.
Error docker_error(int status, std::string_view said);

}  // namespace mcpbox::box
