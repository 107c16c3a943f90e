// Names of processes. Sandboxes carry the name of the mcpbox that made them, so that one that was killed can be told
// from one that still uses them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace mcpbox::sys {

// Names this start of the machine: /proc/sys/kernel/random/boot_id. Never empty.
Result<std::string> boot_id();

// When the process started, in clock ticks since the machine did: boot, number and start together name a process.
// 0 when it is gone or a zombie (proc(5), /proc/PID/stat). An error when that cannot be looked up, as without a free
// descriptor.
Result<std::uint64_t> start_of_process(pid_t pid);

// This process as "<boot id>:<pid>:<start time>": another process that gets the same pid later has another name.
Result<std::string> own_process();
// Whether the process with this name lives on this host. False only where it is known: one that cannot be looked up
// counts as alive. A text that own_process() cannot have made names nobody: false.
bool process_is_alive(const std::string& name);
// The pid in such a name, for people; 0 when there is none.
pid_t pid_of(const std::string& name);

}  // namespace mcpbox::sys
