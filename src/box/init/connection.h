// One controller's connection: frames in, frames out, descriptors with them. Never waits for the peer.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/event_loop.h"
#include "box/wire/frame.h"

namespace mcpbox::box::init {

class Connection {
 public:
  struct Handlers {
    std::function<void(const wire::Frame&, std::vector<UniqueFd>)> frame;
    // Once, from the loop: the peer went away, broke the protocol or does not read. The owner destroys the connection
    // then.
    std::function<void(const char* why)> closed;
  };
  // `socket` must be non-blocking.
  Connection(EventLoop& loop, UniqueFd socket, Handlers handlers);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Queues a frame; the descriptors are duplicated. A peer that lets 8 MiB pile up is dropped.
  void send(wire::MessageType type, std::uint64_t id, std::string_view payload, const std::vector<int>& fds = {});
  // Tries for at most a second to get everything out: the last words of a sandbox.
  void flush();

 private:
  struct Outgoing {
    std::string bytes;
    std::size_t sent = 0;
    std::vector<UniqueFd> fds;
  };
  void on_ready(unsigned events);
  void receive();
  bool write_some();  // false when the peer is gone
  void close(const char* why);
  void update_watch();

  EventLoop& loop_;
  UniqueFd socket_;
  Handlers handlers_;
  wire::FrameReader reader_;
  std::deque<UniqueFd> received_fds_;
  std::deque<Outgoing> out_;
  std::size_t queued_ = 0;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mcpbox::box::init
