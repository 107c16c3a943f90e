// What a forked child does to become a managed process: identity, limits, confinement, exec. Runs in the child only.
#pragma once

#include <string>

#include "box/wire/messages.h"

namespace mcpbox::box::init {

// Never returns on success: the program runs. On failure returns errno, and `step` says what failed ("exec 'foo'",
// "enter '/workspace/x'"). Each step needs what the next ones take away, so their order matters. Descriptor 3,
// close-on-exec, is the caller's until exec; all above it are closed.
int become_process(const wire::Spawn& spec, std::string& step);

// Drops root for good: no groups, uid:gid in all three places, no capability in any set, and no way to get one back.
// Used for helpers too. Returns 0 or errno.
int drop_identity(uid_t uid, gid_t gid, std::string& step);

// Empties the bounding and ambient sets; needs CAP_SETPCAP, so it comes before drop_identity().
int drop_bounding_set(std::string& step);

}  // namespace mcpbox::box::init
