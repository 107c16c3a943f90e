// The sockets by which connections get into a server's network (box/link/supervisor.h), kept for use again and again.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "egress/control/stream.h"
#include "net/task.h"

namespace mcpbox::provision {

// What one connection needs: a socket for 127.0.0.1, and one for ::1, where "localhost" may have led the server's
// listen() instead. Without the second where that network has no IPv6.
struct WayIn {
  UniqueFd four, six;
};

class WaysIn {
 public:
  // Sockets that are not IPv4 or IPv6 streams are closed.
  explicit WaysIn(std::vector<UniqueFd> sockets);
  std::optional<WayIn> take();
  // `used`: what connect_by() took out of it, if it did. Its connection is taken off: the server sees a reset where not
  // both sides had ended it. A socket that cannot be had back like that is closed, and is one less.
  void give(WayIn way, UniqueFd used);
  std::size_t size() const { return free_.size(); }

 private:
  std::vector<WayIn> free_;
};

// A non-blocking TCP socket for the loop; none, and it is closed, when the loop cannot take it.
std::optional<egress::Stream> adopt(const boost::asio::any_io_executor& executor, UniqueFd socket);

// Connects one of the two sockets to `port` of the server's loopback and takes that out of `way`. Nothing when nobody
// listens there, or takes the connection within `limit`. Cancelled, it throws.
Task<std::optional<egress::Stream>> connect_by(boost::asio::any_io_executor executor, WayIn& way, std::uint16_t port,
                                               std::chrono::milliseconds limit);

}  // namespace mcpbox::provision
