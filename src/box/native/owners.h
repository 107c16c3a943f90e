// Whose the folders are that a sandbox is given.
#pragma once

#include <sys/types.h>

#include <utility>
#include <vector>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

// User and group of every bound folder: servers run as the owners of the folders that they are given. kAborted when a
// judged one (Mount::judged) has another in its place by now.
Result<std::vector<std::pair<uid_t, gid_t>>> owners_of(const SandboxSpec& spec);

}  // namespace mcpbox::box
