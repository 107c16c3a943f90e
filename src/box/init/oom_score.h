// How soon the kernel takes processes when memory is short (proc_pid_oom_score_adj(5)).
#pragma once

#include <sys/types.h>

#include <vector>

namespace mcpbox::box::init {

// For a helper (helper.h), which becomes uid and gid: such a file belongs to the process's user, or to root where the
// process cannot be dumped. What cannot be written stays as it is.
void set_oom_scores(uid_t uid, gid_t gid, const std::vector<pid_t>& pids, int score);

}  // namespace mcpbox::box::init
