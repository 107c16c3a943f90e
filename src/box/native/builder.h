// Starts `mcpbox-init --build` and waits for its answer.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "box/wire/build_spec.h"
#include "net/task.h"

namespace mcpbox::box {

inline constexpr std::chrono::seconds kBuildLimit{20};
// A tree may have a million files on a slow disk.
inline constexpr std::chrono::minutes kSweepLimit{10};

// Sends the specification to a fresh mcpbox-init, in a session of its own, and reads the reply: kTimeout after `limit`,
// and the process group is killed then. Not cancelled by its caller: half a sandbox helps nobody. It is over in
// milliseconds, or when the trees of `sweep` are gone. A refusal by the kernel comes with what to set.
Task<Result<void>> run_builder(std::string init_path, wire::BuildSpec spec,
                               std::chrono::milliseconds limit = kBuildLimit);

// Why this kernel or its policy keeps users from making namespaces, with the setting's name; empty when nothing is
// known.
std::string namespace_hint();

}  // namespace mcpbox::box
