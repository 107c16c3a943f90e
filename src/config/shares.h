// Whether what the servers of one sandbox name as theirs fits into it.
#pragma once

#include "config/decoder.h"
#include "config/settings.h"

namespace mcpbox::config {

// Enabled servers that share a sandbox: the sum of their memory_mb and pids_limit, of those that name one, is at most
// box.limits times its `overcommit`, and none of them alone has more than box.limits, of cpus either. The sum of cpus
// is nobody's harm: who has less of them only takes longer. Problems stand at the first server of a sandbox, with the
// numbers and what to change. What servers are in one sandbox is what the file says: equal image and read_only_rootfs,
// and neither mounts nor `isolation: dedicated`.
void check_shares(Decoder& decoder, const Settings& settings);

// The other enabled servers in the sandbox of this one; none where it has one to itself.
std::vector<std::string> sharing_with(const Settings& settings, const ServerSettings& server);

}  // namespace mcpbox::config
