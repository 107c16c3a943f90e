// Control groups for servers that are behind all others of the machine, below mcpbox.idle in the `cpu` hierarchy of
// version 1, which is idle as a whole (cpu.idle, since Linux 5.15; init/server_groups.h says what they are for).
//
// They mirror the hierarchy: what stands behind in docker/ID/servers/NAME goes to mcpbox.idle/docker/ID/servers/NAME,
// with whatever limits it had there. A group of the mirror belongs to nobody when there is none of its path outside of
// it: whoever comes by removes it, also what another daemon left when it was killed.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::box {

inline constexpr const char* kIdleGroup = "mcpbox.idle";

// `hierarchy` is a descriptor of /sys/fs/cgroup/cpu, of which `path` is a group: without a leading slash, and no link
// is followed in it. Makes its mirror and all above that; again is no error. kUnsupported where no group can be idle.
Result<UniqueFd> make_idle_group(int hierarchy, const std::string& path);
// Those that belong to nobody, unless somebody is in one; at most a few thousand at a time.
void sweep_idle_groups(int hierarchy);

}  // namespace mcpbox::box
