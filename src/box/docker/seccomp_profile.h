// The system call filter of containers whose PID 1 gives each server namespaces of its own.
//
// An engine's default filter lets nobody without CAP_SYS_ADMIN make any. This one is an allow-list, too, with what
// box/init/spaces.h needs besides; servers get their own filter on top of it before they run.
#pragma once

#include <string>

namespace mcpbox::box {

// JSON as engines take it after "seccomp=" (OCI runtime specification, linux.seccomp).
const std::string& docker_seccomp_profile();

}  // namespace mcpbox::box
