// Copies bytes between a client and a server until both are done: half-close, back-pressure, and next to no memory
// while idle.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "egress/control/stream.h"
#include "egress/rules/up_filter.h"

namespace mcpbox::egress {

struct TunnelOutcome {
  std::uint64_t bytes_up = 0, bytes_down = 0;
  std::string reason;  // "" when both sides ended it; else "idle", "reset", or a filter's refusal
  bool refused = false;
};

// Lives on one executor that one thread runs. While nothing moves it holds no buffer: data goes through one buffer per
// thread, and only what a slow receiver does not take is kept (at most 256 KiB a direction), during which its sender is
// not read.
class Tunnel : public std::enable_shared_from_this<Tunnel> {
 public:
  using Done = std::function<void(TunnelOutcome)>;

  Tunnel(Stream client, Stream server, std::unique_ptr<UpFilter> filter, std::chrono::milliseconds idle);
  // `done` is called once, from the loop. `early` are bytes that the client sent already; `down` is for the client,
  // first.
  void start(std::string early, std::string down, Done done);
  // Ends it at once; `done` is still called. `farewell` goes to the client if it fits.
  void close(std::string reason, bool refused = false, std::string_view farewell = {});
  // For `done`: the server's socket as the tunnel leaves it, open. Otherwise it is closed after that call.
  Stream take_server() { return std::move(server_); }
  // When bytes moved last, or it was made.
  std::chrono::steady_clock::time_point last_moved() const { return last_; }

 private:
  struct Direction {
    Stream* from;
    Stream* to;
    std::string pending;
    std::uint64_t bytes = 0;
    bool eof = false;   // nothing more will be read
    bool shut = false;  // and the receiver has been told
  };
  void wait_readable(Direction& direction);
  void wait_writable(Direction& direction);
  void pump(Direction& direction);
  bool deliver(Direction& direction, std::string_view bytes);  // false when the tunnel was closed
  bool flush(Direction& direction);
  void finish(Direction& direction);
  void watch();
  void end();

  Stream client_, server_;
  std::unique_ptr<UpFilter> filter_;
  std::chrono::milliseconds idle_;
  std::chrono::steady_clock::time_point last_;
  boost::asio::steady_timer timer_;
  Direction up_, down_;
  std::string reason_;
  bool refused_ = false, closed_ = false;
  Done done_;
};

}  // namespace mcpbox::egress
