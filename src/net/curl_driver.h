// Runs libcurl's multi interface on an Asio loop. For http_client.cc only.
//
// libcurl's sockets are watched by an epoll instance of our own, and Asio watches that one descriptor. So no Asio
// object ever refers to a descriptor that libcurl may close at any moment, and readiness stays level-triggered, as
// libcurl expects.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>

#include "net/curl_library.h"
#include "net/http_client.h"

namespace mcpbox::net {

class HttpClient::Driver : public std::enable_shared_from_this<HttpClient::Driver> {
 public:
  using Done = std::function<void(CURLcode)>;

  explicit Driver(boost::asio::any_io_executor executor);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  const boost::asio::any_io_executor& executor() const { return executor_; }
  // nullptr when it is missing; then ready() is false as well.
  const CurlLibrary* curl() const { return curl_; }
  // False when libcurl or epoll could not be set up.
  bool ready() const { return multi_ != nullptr && epoll_.is_open(); }

  // Starts the transfer; `done` runs once on the loop when it ended by itself, and never after remove().
  void add(CURL* easy, Done done);
  void remove(CURL* easy);

 private:
  static int on_socket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);
  void wait_for_sockets();
  void drain_sockets();
  void act(curl_socket_t socket, int events);
  void collect();

  boost::asio::any_io_executor executor_;
  const CurlLibrary* curl_ = curl_library();
  boost::asio::posix::stream_descriptor epoll_;
  boost::asio::steady_timer timer_;
  CURLM* multi_ = nullptr;
  std::map<CURL*, Done> transfers_;
  bool waiting_ = false;
};

}  // namespace mcpbox::net
