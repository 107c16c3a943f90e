// Moves the processes of servers to the group apart from their sandbox's, or back (ServerGroups::move()): each server's
// by a helper, one at a time, again and again until they are where the last order wants them. Where a move got nobody
// there, the next comes after kPause, twice that and so on: each costs the whole machine.
#pragma once

#include <map>
#include <string>

#include "box/init/helper.h"
#include "box/init/server_groups.h"

namespace mcpbox::box::init {

class GroupMover {
 public:
  static constexpr std::chrono::milliseconds kPause{250}, kLongest{64'000};

  GroupMover(EventLoop& loop, Helpers& helpers, const ServerGroups& groups)
      : loop_(loop), helpers_(helpers), groups_(groups) {}

  // Of a group for a server that is there.
  void put(const std::string& name, bool apart);

 private:
  struct Server {
    bool apart = false;    // as asked for last
    bool waiting = false;  // for the next move; else one is under way
    EventLoop::Timer timer = 0;
    std::chrono::milliseconds pause = kPause;
  };
  void move(const std::string& name, Server& server);
  void moved(const std::string& name, bool apart, bool some);

  EventLoop& loop_;
  Helpers& helpers_;
  const ServerGroups& groups_;
  std::map<std::string, Server> servers_;  // those of whom somebody is elsewhere
};

}  // namespace mcpbox::box::init
