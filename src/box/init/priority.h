// The priorities of servers among each other, and of PID 1 among them (nice values and the policy SCHED_IDLE,
// setpriority(2) and sched(7)), where no control group of a server's own does it (server_groups.h).
//
// Who is behind has the last nice value, in one call for all threads of its user id that there are, and then each of
// them the policy, with which whoever else wakes up need not wait until its time slice is over.
//
// Who was put behind can be taken back by who has CAP_SYS_NICE in the first user namespace only (can_nice() of
// kernel/sched/syscalls.c). PID 1 of a container has it unless the engine maps its users; PID 1 of a native sandbox has
// not. Where it has not, nobody is put behind: nothing would bring him back.
//
// Nice values reach every thread that has the user id and that PID 1 can see: those of its own PID namespace and of the
// servers' below it, and nobody's of another sandbox. Children have their parent's priority; one that is being made
// during the call may keep the old one, so who is behind is put there again and again. PID 1 has another user id than
// servers. A helper that works on a server's tree as its user, the child that signals its processes, and the one that
// waits in its PID namespace may share its place.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace mcpbox::box::init {

// Once, by PID 1, before it starts anything: tries it by taking a higher priority than any server has, to be there in
// time when many want the processors. It matters within the sandbox's control group only.
void take_priority();
// In a child of PID 1: CAP_SYS_NICE goes. What works for all servers does not stand back for who is before the others;
// any other child has the priority that PID 1 was started with.
enum class For : std::uint8_t { kOne, kAll };
// False: there was none to give up.
bool give_up_priority(For whom = For::kOne);

struct Threads {
  pid_t pid = 0;
  std::uint64_t count = 1;  // as far as is known
};
// Behind all others that are not; false where that is not possible, or none is left. `proc` is a descriptor of /proc,
// `processes` are those of the user id that were just seen: one that is newer has its parent's policy.
bool place_behind(uid_t uid, int proc, const std::vector<Threads>& processes);
// In front of all that are behind, and of who has the usual priority: a crowd of those weighs as much as one of them.
bool place_before(uid_t uid);
// To the priority that it was started with (0 to 19). What one of its processes chose for itself meanwhile or before is
// gone.
bool place_back(uid_t uid, int nice, int proc, const std::vector<Threads>& processes);

}  // namespace mcpbox::box::init
