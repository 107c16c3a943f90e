// Whether a sandbox shows the folders that were judged, and not what somebody put in their places meanwhile.
//
// The judgement is about an inode (Mount::judged); engines bind what a path leads to when they get to it. An engine
// that takes paths only resolves them again, links included, and a server that may write above a folder can exchange it
// for a link at that moment. So PID 1 says what it has at each place, before any server runs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "box/link/supervisor.h"
#include "net/task.h"

namespace mcpbox::box {

// kAborted, with the path on the host and what to do: it is another folder than was judged.
Error exchanged(const std::string& source);

// Asks PID 1 for the identity of every judged mount. Any error means that no server may run in this sandbox: kAborted
// for another folder, kFailedPrecondition when PID 1 cannot look at one. Asks nothing without judged mounts.
Task<Result<void>> check_judged_mounts(Supervisor& supervisor, std::vector<Mount> mounts);

}  // namespace mcpbox::box
