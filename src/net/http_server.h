// An HTTP/1.1 server on a unix socket or on TCP, with or without TLS: one coroutine a connection, everything that a
// client decides is bounded in size and in time (RFC 9110, RFC 9112; http_exchange.h is what handlers see).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "net/http_exchange.h"
#include "net/task.h"
#include "net/tls_identity.h"

namespace mcpbox::net {

struct HttpServerOptions {
  std::uint64_t max_body = 4u << 20;  // bytes, unless the handler says otherwise; kResourceExhausted for it beyond
  // Of all bodies that have not come to their end, bytes; kAborted (429) for the one that passes it.
  std::uint64_t max_unfinished = 64u << 20;
  // When all are taken, a newcomer takes the place of the one that has waited longest for its client's request or its
  // body, for at least a second; where there is none, newcomers wait in the backlog. Handlers that wait for something
  // else should be fewer, so that there is always a place.
  std::size_t max_connections = 256;
  // So many more are taken then, for one request each: ServedRequest::crowded says so, and the handler does what cannot
  // wait and refuses the rest. When these are taken too, a newcomer also takes the place of a client that has not taken
  // its answer for crowded_timeout.
  std::size_t reserved = 0;
  std::chrono::milliseconds crowded_timeout = std::chrono::seconds(5);
  // A client gets 408 or is cut off when it takes longer. A head is at most 16 KiB (431).
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);  // for the first byte of a request
  std::chrono::milliseconds head_timeout = std::chrono::seconds(10);  // from there to the head's end; a TLS handshake
  std::chrono::milliseconds body_timeout = std::chrono::seconds(30);  // for each piece of the body; for all of it
                                                                      // as long, and a second more for 16 KiB
  std::chrono::milliseconds write_timeout = std::chrono::minutes(1);  // for one write, to a client that reads not
};

// Where to listen: a name in the file system, made 0600 with a lock beside it (sys/unix_listener.h). Only its owner and
// root are served; others get 403.
struct UnixPlace {
  std::string path;
};
struct TcpPlace {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0 = any that is free, see HttpServer::port()
  std::optional<TlsFiles> tls;
};

// Lives on one executor. stop() must have been awaited before it dies once it was started.
class HttpServer {
 public:
  // Errors: those of sys::UnixListener::listen(), kAlreadyExists when another process serves the path.
  static Result<std::unique_ptr<HttpServer>> listen(boost::asio::any_io_executor executor, UnixPlace place,
                                                    HttpServerOptions options, HttpHandler handler);
  // Errors: kInvalidArgument (no numeric address; a certificate or key that cannot be used), kAlreadyExists (the port
  // is taken), what the system said. Reads the certificate's files; blocks.
  static Result<std::unique_ptr<HttpServer>> listen(boost::asio::any_io_executor executor, TcpPlace place,
                                                    HttpServerOptions options, HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Accepts until drain() or stop().
  void start();
  std::uint16_t port() const;  // of a TcpPlace
  // Connections in progress, those that wait for a request among them.
  std::size_t connections() const;
  // TlsIdentity::reload(). kFailedPrecondition without TLS.
  Result<void> reload_certificate();

  // Accepts nothing more, removes the socket if it is still ours and gives its lock back, closes what waits for a
  // request, lets what is being served end until `deadline`, cancels the rest, and returns when nothing is left.
  Task<void> drain(std::chrono::steady_clock::time_point deadline);
  // The same with no time at all.
  Task<void> stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mcpbox::net
