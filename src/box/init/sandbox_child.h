// What a forked child does to become a managed process: identity, limits, confinement, exec. Runs in the child only.
#pragma once

#include <cstdint>
#include <string>

#include "box/init/spaces.h"
#include "box/wire/messages.h"

namespace mcpbox::box::init {

// How this sandbox starts its processes.
struct StartWay {
  Spaces spaces = Spaces::kNone;  // each in namespaces of its own
  std::uint16_t egress_port = 0;  // where the way out is for those that may have it; 0: there is none
  bool counted = false;           // the kernel counts its memory in a control group of its own
};

// Never returns on success: the program runs. On failure returns errno, and `step` says what failed ("exec 'foo'",
// "enter '/workspace/x'"). Each step needs what the next ones take away, so their order matters. Descriptor 3,
// close-on-exec, is the report (start_report.h) until exec; all above it are closed. With `way.spaces` another process
// than the caller runs the program.
int become_process(const wire::Spawn& spec, const StartWay& way, std::string& step);

// Drops root for good: no groups, uid:gid in all three places, no capability in any set, and no way to get one back.
// Used for helpers too. Returns 0 or errno.
int drop_identity(uid_t uid, gid_t gid, std::string& step);

// The last part of it: no capability in any set.
int drop_capabilities(std::string& step);

// Empties the bounding and ambient sets; needs CAP_SETPCAP, so it comes before drop_identity().
int drop_bounding_set(std::string& step);

}  // namespace mcpbox::box::init
