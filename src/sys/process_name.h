// Names of processes. Sandboxes carry the name of the mcpbox that made them, so that one that was killed can be told
// from one that still uses them.
#pragma once

#include <string>

namespace mcpbox::sys {

// This process as "<boot id>:<pid>:<start time>": another process that gets the same pid later has another name.
std::string own_process();
// Whether the process with this name lives on this host. A text that own_process() cannot have made names nobody:
// false.
bool process_is_alive(const std::string& name);

}  // namespace mcpbox::sys
