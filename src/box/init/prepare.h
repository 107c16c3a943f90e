// Several small changes beneath the roots as one request: what a start needs, without a round trip for each.
#pragma once

#include "box/init/roots.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {

// In a child of PID 1, as root. Stops at the first failure.
Op<void> prepare(const Roots& roots, const wire::Prepare& request, Clock::time_point deadline);

}  // namespace mcpbox::box::init
