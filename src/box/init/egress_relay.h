// The egress relay as PID 1 sees it: a child process that is started again whenever it ends.
//
// PID 1 holds the listening sockets, so that nobody can take the port while the relay is away, and connections wait.
// The child has no capability, no file and no network of its own; it reaches the proxy's socket with the file-system
// uid of the socket's owner. Its real, effective and saved uid stay 0: servers may have the owner's uid, and none of
// them may signal or trace it.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "box/init/event_loop.h"
#include "box/init/op.h"
#include "box/init/relay_orders.h"

namespace mcpbox::box::init {

class EgressRelay;

// A listener of one server's own network namespace at the relay; it and the namespace go when this does. The relay
// outlives it.
class WayOut {
 public:
  WayOut() = default;
  WayOut(EgressRelay& relay, std::uint32_t number) : relay_(&relay), number_(number) {}
  WayOut(WayOut&& other) noexcept : relay_(std::exchange(other.relay_, nullptr)), number_(other.number_) {}
  WayOut& operator=(WayOut&& other) noexcept {
    std::swap(relay_, other.relay_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~WayOut();

 private:
  EgressRelay* relay_ = nullptr;
  std::uint32_t number_ = 0;
};

class EgressRelay {
 public:
  // Binds 127.0.0.1:port. `socket` is the proxy's absolute path: its directory must exist now, the socket itself may
  // appear later and be replaced. `directory` is that directory where the caller opened it before; an invalid one is
  // opened here.
  static Op<std::unique_ptr<EgressRelay>> open(std::uint16_t port, const std::string& socket, uid_t owner,
                                               UniqueFd directory);
  // The sandbox's name, before start(); said with the uid of every connection.
  void speak_for(std::string sandbox) { sandbox_ = std::move(sandbox); }
  void start(EventLoop& loop);
  // Whatever connects to `listener`, a non-blocking one, is `uid`'s: nobody else is in its network namespace.
  WayOut serve(UniqueFd listener, uid_t uid);
  // Call it for every reaped pid. True when it was the relay: another one is started, at once, or a second later when
  // the old one lived for less than a second.
  bool reaped(pid_t pid, int status);

 private:
  friend class WayOut;
  struct Way {
    UniqueFd listener;
    uid_t uid = 0;
  };
  void launch();
  [[noreturn]] void be_relay(UniqueFd orders);
  void order(const RelayOrder& order, int descriptor);
  void drop(std::uint32_t number);

  EventLoop* loop_ = nullptr;
  UniqueFd listener_, directory_;
  UniqueFd orders_;  // to the relay that runs
  std::map<std::uint32_t, Way> ways_;
  std::uint32_t next_way_ = 0;
  std::string socket_name_, sandbox_;
  uid_t owner_ = 0;
  pid_t pid_ = -1;
  EventLoop::Clock::time_point started_;
};

}  // namespace mcpbox::box::init
