// Names a process, so that what a killed mcpbox left on the engine can be told from what a living one uses.
#pragma once

#include <string>

namespace mcpbox::sys {

// "<boot id>:<pid>:<start time>": another process that gets the same pid later has another name.
std::string own_process();
// Whether the process with this name lives on this host. False for everything that own_process() never gives.
bool process_is_alive(const std::string& name);

}  // namespace mcpbox::sys
