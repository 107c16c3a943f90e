// The sockets of the proxy and of its control channel, and what limits the time of an operation on one.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <memory>

namespace mcpbox::egress {

using Stream = boost::asio::generic::stream_protocol::socket;

inline const auto kTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

// Cancels what waits on a socket when the time is up. The socket outlives it.
class Deadline {
 public:
  Deadline(Stream& socket, std::chrono::milliseconds limit)
      : timer_(socket.get_executor(), limit), state_(std::make_shared<bool>(false)) {
    timer_.async_wait([&socket, weak = std::weak_ptr(state_)](boost::system::error_code error) {
      const auto state = weak.lock();
      if (error || !state) return;
      *state = true;
      boost::system::error_code ignored;
      socket.cancel(ignored);
    });
  }
  bool passed() const { return *state_; }

 private:
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> state_;
};

}  // namespace mcpbox::egress
