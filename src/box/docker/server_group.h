// A control group for the servers of a container, made from outside below the container's own group: PID 1, which sees
// its control groups read-only, gets a descriptor of it and makes a group for each server there
// (init/server_groups.h).
//
// Only the `cpu` controller of version 1, and only on the engine's own machine, by its root: memory and processes are
// counted by PID 1 as before. In version 2 a group with processes has no groups below it that share processors, unless
// these are threaded or the container's processes are moved, with which engines deal differently (how they list and
// kill processes, what they do with an exec): nothing is done there.
//
// What PID 1 gets is a mount of that one group, attached nowhere (open_tree(2)): `..` ends there, so nothing of the
// container's own limits or of the machine's groups can be reached through it. The group goes with the container: an
// engine removes the groups below it, too. The same holds of the group for servers that are behind (idle_groups.h),
// which mcpbox removes itself.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

// The name of that group in the container's own.
inline constexpr const char* kServersGroup = "servers";

// The container's group in the `cpu` hierarchy of version 1, from the text of /proc/PID/cgroup of its PID 1: relative
// to the hierarchy's root, without a leading slash. Nothing unless its last part is of the container with this id, as
// engines spell it ("ID", or "docker-ID.scope" with systemd).
std::optional<std::string> cpu_group_of(std::string_view text, std::string_view container_id);

// Where the kernel shows them; others in tests.
struct KernelPlaces {
  std::string processes = "/proc";
  std::string groups = "/sys/fs/cgroup";
};
// `pid`: of the container's PID 1, as the engine says. It counts only when that process is of our user namespace, its
// group has the container's name, and the group says itself that the process is in it. The error says why there is
// none, for people.
Result<GroupOfServers> open_server_group(const KernelPlaces& places, pid_t pid, std::string_view container_id);
// After a container was removed: the groups of its servers that are not below its own (idle_groups.h).
void forget_server_groups(const KernelPlaces& places);

}  // namespace mcpbox::box
