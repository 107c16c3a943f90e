// Makes a finished tree of a server unwritable for everybody and readable for all: files 0444 or 0555, directories
// 0555.
#pragma once

#include "box/init/roots.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {

// In a helper, as root. A child that is the tree's owner does it, so a name that the owner planted leads nowhere else.
Op<void> seal(const Roots& roots, const wire::Seal& request, Clock::time_point deadline);

}  // namespace mcpbox::box::init
