// Ports of this host's loopback that lead into one server's own loopback (config::PublishedPort).
//
//   client ─► 127.0.0.1:HOST ─ PublishedPorts ─ a way in (ways_in.h) ─► 127.0.0.1:SERVER of the server's network
//
// Whoever is on this host may connect, and the server is not trusted either: at most kMaxPublished connections at a
// time, where one that nothing moved on for 10 s makes room for another; 256 KiB a direction are kept for a side that
// does not read, and whoever sends more waits. A connection that
// the server does not take within 5 s is reset, one on which nothing moves for 10 minutes is closed. An end that one
// side sends reaches the other, and the other direction goes on.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "config/settings.h"

namespace mcpbox::provision {

inline constexpr unsigned kMaxPublished = 64;  // connections of one server

// Lives on one loop, and is destroyed there.
class PublishedPorts {
 public:
  using Tell = std::function<void(std::string_view line)>;

  // Listens on 127.0.0.1 and, where this host has it, on ::1. kFailedPrecondition names the port that cannot be had,
  // why, and what to do. Who connects waits for open().
  static Result<std::unique_ptr<PublishedPorts>> listen(boost::asio::any_io_executor executor,
                                                        const std::vector<config::PublishedPort>& ports);
  // `ways`: Supervisor::Spawned::ways_in. `tell` hears, once a minute at most, that there are too many connections.
  void open(std::vector<UniqueFd> ways, Tell tell);
  // Nobody is taken any more, and what is connected ends.
  ~PublishedPorts();
  PublishedPorts(const PublishedPorts&) = delete;
  PublishedPorts& operator=(const PublishedPorts&) = delete;

 private:
  struct State;
  explicit PublishedPorts(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace mcpbox::provision
