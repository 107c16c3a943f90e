// The server's copy of a host folder beneath its workspace: made as a whole, brought up to date, or left as it is.
//
// A copy (a generation) is unpacked beside the old one and renamed over it, so a running server never sees half of one.
// What the server must not write belongs to another uid than the server's, which reads it through its group; so nothing
// that a server does can be in such a copy, and files that did not change on the host are taken over from it by hard
// link. What the server may write stays as it left it.
//
// Which copy is there is told by the list of copies (copies.h), which no server can write, what is in it by a manifest
// on the host. If either is missing, damaged or does not fit the other, everything is copied again.
#pragma once

#include <sys/types.h>

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/stage/copies.h"
#include "provision/stage/stager.h"
#include "workspace/plan.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::provision {

struct StagedGeneration {
  enum class How {
    kWhole,    // every file was sent
    kPartly,   // `sent` files were; the others came from the copy before
    kAsItWas,  // nothing had changed
    kOwnCopy,  // writable, and there already: not touched
  };
  How how = How::kWhole;
  std::uint64_t sent = 0;
  workspace::StageReport report;  // empty for kOwnCopy
};

// `root` is staged (not bound) and lies beneath a directory of root's; `copies` was settled for it. `fresh`: everything
// is copied, also over what the server may have written. A folder that changes while it is read is read again, three
// times at most.
Task<Result<StagedGeneration>> stage_generation(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                CopyList& copies, workspace::Root root, StagePolicy policy,
                                                StageTarget target, GenerationPlace place, bool fresh);

}  // namespace mcpbox::provision
