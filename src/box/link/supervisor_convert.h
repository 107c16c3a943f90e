// Between the types that callers use (process.h) and those on the wire.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/process.h"
#include "box/wire/messages.h"

namespace mcpbox::box {

wire::Prepare to_wire(Preparation preparation);
wire::Spawn to_wire(ProcessSpec spec);
ProcessExit to_exit(const wire::Exit& exit);
ProcessStatus to_status(wire::Listed listed);
// A close-on-exec copy.
Result<UniqueFd> duplicate(int fd);

}  // namespace mcpbox::box
