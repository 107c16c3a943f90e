// Who the ids of a new user namespace are outside of it.
#pragma once

#include <sys/types.h>

#include "box/init/op.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box::init {

// Writes both maps for the process `pid`, which is in a user namespace of its own without maps: ourselves, or with
// newuidmap(1) and newgidmap(1) where the specification names them.
Op<void> write_maps(const wire::BuildSpec& spec, pid_t pid);

}  // namespace mcpbox::box::init
