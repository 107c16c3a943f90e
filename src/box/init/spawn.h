// Starts a managed process: pipes, fork, and the report of whether exec succeeded.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"
#include "box/init/roots.h"

namespace mcpbox::box::init {

struct Pipes {
  UniqueFd in, out, err;
};

struct Started {
  pid_t pid = -1;
  Pipes pipes;      // our ends; empty when the caller's descriptors were used
  UniqueFd report;  // end of file: the program runs; otherwise an ErrorReply, then end of file. Non-blocking.
};

// Refuses what no process may have (uid 0, relative paths, NUL in strings). No I/O.
Op<void> check_spawn(const wire::Spawn& spec, std::size_t fd_count);

// `stdio`: three descriptors for the process, or none for new pipes. The child makes what spec.prepare names, beneath
// `roots`, before it becomes the process: PID 1 waits for no file system.
Op<Started> start_process(const wire::Spawn& spec, const std::vector<UniqueFd>& stdio, const Roots& roots);

// What the report says once it has ended; success for an empty one.
Op<void> read_report(std::string_view bytes);

}  // namespace mcpbox::box::init
