// The server's copy of a host folder beneath its workspace: made as a whole, brought up to date, or left as it is.
//
// A copy (a generation) is unpacked beside the old one and renamed over it, so a running server never sees half of one.
// What the server must not write belongs to another uid than the server's, which reads it through its group; so nothing
// that a server does can be in such a copy, and files that did not change on the host are taken over from it by hard
// link. What the server may write stays as it left it.
//
// Which copy is there is told by a note of PID 1 (root's, outside of what any server can write), what is in it by a
// manifest on the host. If either is missing, damaged or does not fit the other, everything is copied again.
#pragma once

#include <sys/types.h>

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/stage/stager.h"
#include "workspace/plan.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::provision {

struct GenerationPlace {
  std::string tree;  // process_tree(): root's directory in the sandbox, where the note is
  std::string process_id;
  std::string manifest_dir;  // on the host; empty = nothing is remembered
  uid_t code_uid = 0;  // owner of what the server must not write; the server's own uid where the sandbox has but one
};

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

// `root` is staged (not bound) and lies beneath a directory of root's. `fresh`: everything is copied, also over what
// the server may have written. A folder that changes while it is read is read again, three times at most.
Task<Result<StagedGeneration>> stage_generation(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                workspace::Root root, StagePolicy policy, StageTarget target,
                                                GenerationPlace place, bool fresh);

// The note about the copy at `mount`: "rw GENERATION", "ro GENERATION", or "open GENERATION" for one that is to be read
// but has the server's own uid.
std::string generation_note(const GenerationPlace& place, const std::string& mount);
std::string manifest_path(const GenerationPlace& place, const std::string& mount);

}  // namespace mcpbox::provision
