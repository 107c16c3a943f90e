// What all servers of a sandbox together may use of the kernel's counters of whoever runs it (namespaces(7),
// /proc/sys/user): inotify instances and watches, queued signals. Each server has a part of its own (spaces.h), but
// eight of them had all there was.
//
//   keeper ── half way, in a user namespace that has half of the counters; ends
//     └── PID 1, in a user namespace below that one: a child of the keeper all the same
#pragma once

#include <sys/types.h>

#include "box/init/op.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box::init {

// A process in new namespaces; -1 and errno on failure. Raw, because no library function forks into namespaces; we have
// one thread, and nothing that fork(2)'s handlers would have to look after.
pid_t fork_into(int namespaces);

// As fork(2) into `namespaces`, CLONE_NEWUSER among them, and with the ids mapped as `spec` says: returns twice, with 0
// in the new process, which has to wait for the other one's word. The ids between are the ones outside of `spec`.
// Where /proc/sys cannot be written to, the counters stay whole.
Op<pid_t> fork_with_half(const wire::BuildSpec& spec, int namespaces);

}  // namespace mcpbox::box::init
