// A sandbox whose user namespace has a single id: what an ordinary user gets without newuidmap(1).
//
// PID 1, its helpers and the server are then one user to the kernel, so nothing here may rest on ids. What keeps the
// server off PID 1: each server has a user namespace of its own below the sandbox's, in which it has the id that was
// asked for. ptrace(2), /proc/PID/mem, /fd and /environ of a process in a namespace above need CAP_SYS_PTRACE there
// (ptrace(2), "Ptrace access mode checking", step 5), which it cannot have. PID 1 of a pid namespace takes no signal
// from inside that it did not ask for (pid_namespaces(7)). Files of PID 1 are out of reach by Landlock and read-only
// mounts; the engine refuses this mode where there is no Landlock.
#pragma once

#include <sys/types.h>

#include <string>

namespace mcpbox::box::init {

// Decided once, by PID 1, before it starts anything.
void set_one_id();
bool one_id();

// How the files and processes of `id` look in the sandbox: root's with one id, else its own.
inline uid_t shown_id(uid_t id) {
  return one_id() ? 0 : id;
}

// Moves the calling thread into a user namespace with one user, `uid`, and one group, `gid`: with every capability in
// it, to be dropped. Returns 0 or errno, and says in `step` what failed.
int enter_own_namespace(uid_t uid, gid_t gid, std::string& step);
// Who the process is in such a namespace; 0 for all others.
uid_t user_there(pid_t pid);
// Whether the process is in such a namespace and is `uid` there.
bool is_user_there(pid_t pid, uid_t uid);

}  // namespace mcpbox::box::init
