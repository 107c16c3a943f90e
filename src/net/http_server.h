// A small HTTP/1.1 server on a unix socket: bounded heads and bodies, one coroutine a connection, streamed replies.
//
// Beast is behind it and in http_server.cc only.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/task.h"

namespace mcpbox::net {

struct ServedRequest {
  std::string method;  // "GET"
  std::string path;    // decoded once, normalised: no "..", no "//", no NUL
  std::map<std::string, std::string> query;
  std::string content_type;
  std::string body;
  uid_t peer_uid = 0;  // SO_PEERCRED
};

// Answers one request. Exactly one of send() or begin() must be called; errors mean that the client is gone. The
// handler is cancelled (Asio's terminal cancellation) when the client goes away before it ended: what it does then must
// be safe to cut short wherever it suspends. A client that only shut its writing side down is still there.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual Task<Result<void>> send(unsigned status, std::string content_type, std::string body) = 0;
  // A chunked reply: begin, any number of writes, end.
  virtual Task<Result<void>> begin(unsigned status, std::string content_type) = 0;
  virtual Task<Result<void>> write(std::string chunk) = 0;
  virtual Task<Result<void>> end() = 0;
};

using HttpHandler = std::function<Task<void>(ServedRequest, Responder&)>;

struct HttpServerOptions {
  std::string socket_path;            // made 0600, with a lock beside it: sys/unix_listener.h
  std::size_t max_body = 4u << 20;    // 413 beyond
  std::size_t max_connections = 256;  // further ones wait in the backlog
};

// Only the socket's owner and root may connect: others get 403.
class HttpServer {
 public:
  // Errors: those of sys::UnixListener::listen(); kAlreadyExists when another process serves the path.
  static Result<std::unique_ptr<HttpServer>> listen(boost::asio::any_io_executor executor, HttpServerOptions options,
                                                    HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Accepts until stop().
  void start();
  // Removes the socket if it is still ours, gives the lock back, closes the listener, cancels the connections and waits
  // for them.
  Task<void> stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mcpbox::net
