// Brings what a server changed in its own copy of a folder back to the host, when somebody asks for it.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/stage/generation.h"
#include "provision/stage/pull_outcome.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// The copies that the server may change (`roots`: those of its plan), or the one of options.of. kFailedPrecondition
// when there is none, with the folders that there are copies of. The server may be running as `user`; a file that it
// changes at that moment is kAborted.
Task<Result<std::vector<PullOutcome>>> pull_copies(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                   std::vector<workspace::Root> roots, StagePolicy policy,
                                                   StageTarget user, GenerationPlace place, PullOptions options);

// Removes what pulls had received when their daemon was killed, and counts them. Blocks; for who holds the state
// directory, before any pull.
std::size_t forget_cut_off_pulls(const std::string& manifest_dir);

}  // namespace mcpbox::provision
