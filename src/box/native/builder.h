// Starts `mcpbox-init --build` and waits for its answer.
#pragma once

#include <string>

#include "base/result.h"
#include "box/wire/build_spec.h"
#include "net/task.h"

namespace mcpbox::box {

// Sends the specification to a fresh mcpbox-init, in a session of its own, and reads the reply: kTimeout after 20 s,
// and the process group is killed then. Not cancelled by its caller: it is over in milliseconds, and half a sandbox
// helps nobody. A refusal by the kernel comes with what to set.
Task<Result<void>> run_builder(std::string init_path, wire::BuildSpec spec);

// Why this kernel or its policy keeps users from making namespaces, with the setting's name; empty when nothing is
// known.
std::string namespace_hint();

}  // namespace mcpbox::box
