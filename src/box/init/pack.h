// Writes a server's tree as a stage stream (box/wire/stage_stream.h), as the server's uid, confined to the tree.
#pragma once

#include "box/init/roots.h"
#include "box/init/run_as.h"
#include "box/wire/messages.h"

namespace mcpbox::box::init {

// In a helper, as root. The bytes of the answer are a PackReply.
Op<std::string> pack(const Roots& roots, const wire::Pack& request, int stream, Clock::time_point deadline);

}  // namespace mcpbox::box::init
