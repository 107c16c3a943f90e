// The control groups that limit a native sandbox, as a whole and each of its servers: version 2 or 1, whatever this
// process may make.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box {

struct CgroupHost {
  int version = 1;      // of the hierarchy that has the memory controller
  bool memory = false;  // what can be limited for a sandbox as a whole
  bool processes = false;
  bool processors = false;
  bool apart = false;   // version 1: processor time is counted in a hierarchy of its own
  bool idle = false;    // version 1: servers can be behind all others of the machine (box/idle_groups.h)
  std::string problem;  // why something cannot, for people; empty when all can
};

// `root` is /sys/fs/cgroup. Makes the folder "mcpbox" in each hierarchy and, in version 2, passes the controllers on to
// it.
CgroupHost prepare_cgroups(const std::string& root);
// The groups of one sandbox, below those folders, and what PID 1 needs to make one for each server in them.
std::vector<wire::BuildCgroup> cgroups_for(const std::string& root, const CgroupHost& host, const std::string& id,
                                           const SandboxLimits& limits);
// PID 1 of a native sandbox has them since it was built, if there can be any.
Result<GroupOfServers> groups_since_built(const CgroupHost& host);
// A sandbox's group and those of its servers; false when something is still in one of them.
bool remove_cgroup(const std::string& path);

}  // namespace mcpbox::box
