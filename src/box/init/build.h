// `mcpbox-init --build`: makes a sandbox out of namespaces, without an engine, and looks after it.
//
// The program that mcpbox starts forks a keeper and ends. The keeper, outside of the sandbox, makes its directory and
// its control groups, starts PID 1 in new namespaces, writes down who it is, waits for its end, and removes what was
// the sandbox's alone. When the keeper dies the kernel kills PID 1, and with it everything in the sandbox. Files of the
// keeper below the specification's directory, each written beside and renamed into place:
//   record  what mcpbox wants to find again
//   pid     "KEEPER STARTTIME PID1 STARTTIME\n" (proc(5), field 22), from when the sandbox stands
//   exit    "CODE SIGNAL OOMKILLS\n", when PID 1 has ended; CODE is -1 when a signal ended it
#pragma once

#include "box/init/options.h"

namespace mcpbox::box::init {

inline constexpr int kBuildSpecFd = 3;  // read: the encoded wire::BuildSpec, until end of file
// Write: the encoded wire::BuildReply, once the supervisor's code takes over or something failed.
inline constexpr int kBuildReplyFd = 4;

// Returns in up to two processes. The calling process gets its exit code: 0 once a keeper was forked or only `sweep`
// was asked for, else what failed before anything was made. PID 1 of the new sandbox gets 0 and `supervisor`, the
// options to go on with. The keeper never returns.
int build_sandbox(Options& supervisor);

}  // namespace mcpbox::box::init
