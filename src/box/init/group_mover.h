// Moves the processes of servers that are put behind the others, or back, to where they belong (ServerGroups::move()):
// each server's by a helper, one at a time, and again after kPause, twice that and so on while somebody is elsewhere:
// a server may have processes that never come (see there), and each move costs the whole machine.
#pragma once

#include <map>
#include <string>

#include "box/init/helper.h"
#include "box/init/server_groups.h"

namespace mcpbox::box::init {

class GroupMover {
 public:
  using Clock = EventLoop::Clock;
  static constexpr std::chrono::seconds kPause{1}, kLongest{64};

  GroupMover(Helpers& helpers, const ServerGroups& groups) : helpers_(helpers), groups_(groups) {}

  // After ServerGroups::place(), again and again as long as it is to be so.
  void put(const std::string& name, bool behind);

 private:
  struct Server {
    bool behind = false;  // as asked for last
    bool moving = false;
    Clock::duration pause{};
    Clock::time_point next;
  };
  void move(const std::string& name, Server& server);

  Helpers& helpers_;
  const ServerGroups& groups_;
  std::map<std::string, Server> servers_;  // by the name of the group, as long as that is there
};

}  // namespace mcpbox::box::init
