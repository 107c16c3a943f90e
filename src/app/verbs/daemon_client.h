// The CLI's side of the control API: HTTP over the daemon's unix socket.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "json/value.h"
#include "net/http_client.h"
#include "net/task.h"

namespace mcpbox::app {

// While an answer may take as long as it likes, the daemon is asked now and then whether it is still there.
struct Liveness {
  std::chrono::milliseconds every{5'000};
  std::chrono::milliseconds patience{15'000};  // for that answer
};

class DaemonClient {
 public:
  DaemonClient(boost::asio::any_io_executor executor, std::string socket, Liveness liveness = {})
      : client_(executor), socket_(std::move(socket)), liveness_(liveness) {}

  // The body of a 2xx answer. An error of the API comes back with its code and message; kUnavailable means that no
  // daemon answers, and says how to start one; kPermissionDenied that somebody other than this user or root made the
  // socket or serves it: then nothing was sent.
  Task<Result<std::string>> get(std::string path, std::chrono::milliseconds timeout = std::chrono::seconds(30));
  // With a timeout of 0 it takes as long as the daemon lives: kTimeout once that does not answer others either.
  Task<Result<std::string>> post(std::string path, std::string json_body, std::chrono::milliseconds timeout);
  // Streams a reply until it ends, the coroutine is cancelled, or the daemon does not answer any more.
  Task<Result<void>> stream(std::string path, std::function<Result<void>(std::string_view)> on_bytes);

  // Of the newest answer; 202: what was asked for still goes on.
  unsigned status() const { return status_; }
  // True after a call that failed because nobody listens.
  bool no_daemon() const { return no_daemon_; }
  // True once the awaiting coroutine was cancelled in a call. The daemon sees the connection close and gives up too.
  bool cancelled() const { return cancelled_; }

 private:
  Task<Result<std::string>> send(net::HttpRequest request);
  Task<Result<net::HttpResponse>> fetch(net::HttpRequest request);
  Task<Result<void>> until_mute();

  net::HttpClient client_;
  std::string socket_;
  Liveness liveness_;
  unsigned status_ = 0;
  bool no_daemon_ = false;
  bool cancelled_ = false;
};

}  // namespace mcpbox::app
