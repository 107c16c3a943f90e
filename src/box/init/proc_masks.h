// What of a /proc is about the machine and not about the sandbox: made read-only, or covered.
#pragma once

#include "box/init/op.h"

namespace mcpbox::box::init {

// `proc`: the root of a mounted /proc. `root`: a directory with dev/null in it. Needs CAP_SYS_ADMIN for the mount
// namespace.
Op<void> mask_proc(int proc, int root);

}  // namespace mcpbox::box::init
