// What processes have of memory when each shared page counts once, as parts of it (Pss of proc_pid_smaps(5)).
#pragma once

#include <sys/types.h>

#include <vector>

#include "box/init/op.h"

namespace mcpbox::box::init {

// Bytes of `pids`, which belong to `uid`, own and shared memory, as decimal text. For a helper (helper.h): it takes
// time for every page, and becomes the uid: only who is theirs, or made their user namespace, may read this. A process
// that cannot be read counts as nothing of it is shared; one that has ended is left out.
Op<std::string> look_closely(uid_t uid, const std::vector<pid_t>& pids);

}  // namespace mcpbox::box::init
