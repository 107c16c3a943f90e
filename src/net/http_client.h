// HTTP requests that we make: the engine's API, remote MCP servers, our own daemon over its unix socket. libcurl is
// behind it.
//
// A client lives on one executor that only one thread runs; all of it is used from there. fetch() may be called any
// number of times at once. Connections are kept and reused per client. The tasks must have ended before the client is
// destroyed. Redirects are never followed, only http and https are spoken, HTTP/1.1 is used, and nothing is
// decompressed.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/task.h"

namespace mcpbox::net {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// For https. Peer and host name are always verified; with an empty `ca_bundle` against the system's certificates.
struct HttpTls {
  std::string ca_bundle;    // PEM file
  std::string client_cert;  // PEM file; empty = none
  std::string client_key;   // PEM file
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;  // names in lower case, in the order received
  std::string body;     // empty where on_body took it

  // The first header of that (lower-case) name, or "".
  std::string_view header(std::string_view name) const;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;      // http://… or https://…; with unix_socket its host is only the Host header
  HttpHeaders headers;  // a name or value with a line break is refused
  std::string body;
  std::string body_file;    // when set, this regular file is the body; read on the loop in pieces of at most 64 KiB
  std::string unix_socket;  // connect to this path instead of the URL's host; at most 107 bytes
  // Only with a process of this user or of root at the other end is a byte sent; else kPermissionDenied. The connection
  // is for this request alone, as with own_connection.
  bool own_unix_socket = false;
  HttpTls tls;

  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds total_timeout{10000};  // 0 = none
  std::chrono::milliseconds idle_timeout{0};       // without a byte in either direction; 0 = none

  std::uint64_t max_body_bytes = 8ull << 20;  // of the answer, streamed or not; 0 = none, only together with on_body
  // Called once, when the answer's head is complete (not for 1xx).
  std::function<void(const HttpResponse&)> on_head;
  // Takes the body of a 2xx answer in pieces of at most 16 KiB; other answers' bodies are collected in
  // HttpResponse::body. An error ends the transfer and is what fetch() returns. It must not call into the client.
  std::function<Result<void>(std::string_view)> on_body;

  // Opens a connection for this request alone. libcurl repeats a request once when a kept connection turns out to be
  // dead: set this where a repetition does harm.
  bool own_connection = false;
  bool proxy_from_environment = false;  // honour http_proxy and its family
};

class HttpClient {
 public:
  explicit HttpClient(boost::asio::any_io_executor executor);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  // Any status is a success. Errors: kInvalidArgument (the request cannot be sent as it is), kUnavailable (no
  // connection, or it broke), kTimeout, kResourceExhausted (the answer exceeds a limit), kDataLoss (not HTTP, or
  // shorter than announced), kUnauthenticated (TLS verification failed), kCancelled. Cancelling the awaiting coroutine
  // aborts the transfer and closes its connection.
  Task<Result<HttpResponse>> fetch(HttpRequest request);

  class Driver;  // the loop side of libcurl's multi interface

 private:
  std::shared_ptr<Driver> driver_;
};

}  // namespace mcpbox::net
