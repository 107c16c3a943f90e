// Finds and kills what belongs to a uid.
#pragma once

#include <sys/types.h>

#include "box/init/op.h"

namespace mcpbox::box::init {

// How many processes (zombies too: they count against the uid's limit, and a parent may be about to reap them) have it
// as real, effective or saved uid. Reads /proc.
unsigned count_of_uid(uid_t uid);

// Sends a signal to every process of the uid at once: a child that has become the uid calls kill(-1), which the kernel
// does under one lock, so that a fork bomb cannot run away from it, and which spares PID 1. Returns the child's pid, to
// be reaped by the caller. Where no child can be made (the sandbox's process limit), each process gets the signal by
// its own, which frees room for the next try; returns 0 then.
Op<pid_t> signal_uid(uid_t uid, int signal_number);

}  // namespace mcpbox::box::init
