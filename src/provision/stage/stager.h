// Brings host folders into a sandbox: walks them on the host, streams them, has PID 1 unpack them as the right user.
#pragma once

#include <sys/types.h>

#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "workspace/plan.h"
#include "workspace/stage.h"

namespace mcpbox::provision {

struct StageTarget {
  uid_t uid = 0;
  gid_t gid = 0;
  std::chrono::milliseconds timeout{120'000};
};

// What may be read, and by which rules.
struct StagePolicy {
  std::vector<std::string> allowed_roots;
  workspace::StageRules rules;
};

// `root.mount`, an existing directory that is empty but for what is mounted in it (a scratch mount), gets a copy of
// `root.host`.
Task<Result<workspace::StageReport>> stage_root(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                workspace::Root root, StagePolicy policy, StageTarget target);

// Puts an installation's inputs and sources where its steps expect them: beneath the empty directories `tree`/env and
// `tree`/tmp. kAborted: what was sent is not what the plan's hash speaks of; it is to be removed, and planned anew.
Task<Result<workspace::StageReport>> stage_install_inputs(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                          workspace::InstallPlan plan, std::string directory,
                                                          StagePolicy policy, StageTarget target);

}  // namespace mcpbox::provision
