// Brings what a server changed in its own copy of a folder back to the host, when somebody asks for it.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/stage/generation.h"
#include "workspace/plan.h"
#include "workspace/pull.h"

namespace mcpbox::provision {

struct PullOptions {
  std::string of;  // the folder whose copy is meant, also one that is kept and not used now; empty = all that the
                   // server uses
  std::string to;  // absolute host folder, in the allowed ones, that gets the server's whole copy; empty = the folder
                   // that was staged
  workspace::PullChoice choice;
};

struct PullOutcome {
  std::string from;              // the folder that was staged
  std::string target;            // where it goes
  bool base_known = true;        // false: what was staged is not known any more, so every difference is a conflict
  std::uint64_t unreadable = 0;  // entries of the copy that no archive can hold, or that the server made unreadable
  workspace::PullReport report;
};

// The copies that the server may change (`roots`: those of its plan), or the one of options.of. kFailedPrecondition
// when there is none, with the folders that there are copies of. The server may be running as `user`; a file that it
// changes at that moment is kAborted.
Task<Result<std::vector<PullOutcome>>> pull_copies(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                   const std::string& server, std::vector<workspace::Root> roots,
                                                   StagePolicy policy, StageTarget user, GenerationPlace place,
                                                   PullOptions options);

}  // namespace mcpbox::provision
