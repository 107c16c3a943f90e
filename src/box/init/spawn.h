// Starts a managed process: pipes, fork, and the socket over which the child reports.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"
#include "box/init/roots.h"
#include "box/init/sandbox_child.h"
#include "box/init/understudy.h"

namespace mcpbox::box::init {

struct Pipes {
  UniqueFd in, out, err;
};

struct Started {
  pid_t pid = -1;
  std::string group;  // its control group's name (server_groups.h); empty: it has none
  Pipes pipes;        // our ends; empty when the caller's descriptors were used
  UniqueFd report;    // start_report.h
};

// Refuses what no process may have (uid 0, relative paths, NUL in strings). No I/O.
Op<void> check_spawn(const wire::Spawn& spec, std::size_t fd_count);

// `stdio`: three descriptors for the process, or none for new pipes. The child makes what spec.prepare names, beneath
// `roots`, before it becomes the process: PID 1 waits for no file system. `next`: null where servers have no control
// groups.
Op<Started> start_process(const wire::Spawn& spec, const std::vector<UniqueFd>& stdio, const Roots& roots,
                          const StartWay& way, Understudy* next);

// What the child does.
[[noreturn]] void become_started(const wire::Spawn& spec, const int (&stdio)[3], int report, const Roots& roots,
                                 const StartWay& way);

}  // namespace mcpbox::box::init
