// Moves the processes of servers that are put behind the others, or back, to where they belong (ServerGroups::move()):
// each by a helper, one at a time for each server, and again until they are where the last order wants them.
#pragma once

#include <map>
#include <string>

#include "box/init/helper.h"
#include "box/init/server_groups.h"

namespace mcpbox::box::init {

class GroupMover {
 public:
  GroupMover(Helpers& helpers, const ServerGroups& groups) : helpers_(helpers), groups_(groups) {}

  // After ServerGroups::place(). Costs next to nothing where nobody is to be moved.
  void put(const std::string& name, bool behind);

 private:
  void start(const std::string& name, bool behind);

  Helpers& helpers_;
  const ServerGroups& groups_;
  std::map<std::string, bool> moving_;  // by name, what was asked for last
};

}  // namespace mcpbox::box::init
