// The egress relay's work: takes connections of managed processes, says whose they are, passes them on to the proxy's
// socket.
//
// Each connection to the proxy begins with "MCPBOX1 <uid> <sandbox>\n"; after that, bytes are carried both ways until
// both sides have ended. 512 connections at once, 64 of one uid. While the proxy is not there, connections wait up to
// five seconds for the next one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/peer_uid.h"
#include "box/init/relay_flow.h"

namespace mcpbox::box::init {

class RelayLoop {
 public:
  // `listener`: non-blocking, on IPv4, shared by all; the kernel says whose a connection is. `orders`: non-blocking,
  // brings those of single servers (relay_orders.h). `socket_name` is looked up in the current directory.
  RelayLoop(int listener, UniqueFd orders, std::string socket_name, PeerUids uids);
  // The name of the sandbox, said with each uid: the same uid may be somebody else in another one.
  void speak_for(std::string sandbox) { sandbox_ = std::move(sandbox); }
  // Returns when the kernel refuses what it cannot do without; errno says what.
  void run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class State : std::uint8_t { kWaiting, kCarrying, kDraining };
  struct Connection {
    std::uint64_t number = 0;
    uid_t uid = 0;
    State state = State::kWaiting;
    UniqueFd client, proxy;
    RelayFlow up, down;
    unsigned client_events = 0, proxy_events = 0;  // what epoll watches for; 0: not in it
    Clock::time_point until;                       // of waiting or draining
  };

  struct Own {
    UniqueFd listener;
    uid_t uid = 0;
  };

  // `own`: of whom every connection is; null for the shared listener.
  bool accept_all(int listener, const Own* own);
  void take(UniqueFd client, const struct sockaddr_in& peer, const Own* own);
  std::optional<uid_t> peer_of(const UniqueFd& client, const struct sockaddr_in& peer);
  bool take_orders();
  void accept_own(std::uint32_t number);
  void forget_own(std::uint32_t number);
  bool reach(Connection& connection);
  void carry(Connection& connection);
  void drain(Connection& connection);
  void refuse(Connection& connection);
  // False when the kernel refuses: the connection must end, nobody would look after it.
  bool watch(Connection& connection, int fd, unsigned side, unsigned& now, unsigned wanted);
  void end(std::uint64_t number);
  void run_due();

  int listener_;
  UniqueFd orders_;
  std::map<std::uint32_t, Own> own_;
  std::string socket_name_, sandbox_;
  PeerUids uids_;
  UniqueFd epoll_;
  RelayPipes pipes_;
  std::map<std::uint64_t, Connection> connections_;
  std::map<uid_t, unsigned> of_uid_;
  std::vector<std::uint64_t> timed_;  // those with an `until`
  std::uint64_t next_number_ = 0;
};

}  // namespace mcpbox::box::init
