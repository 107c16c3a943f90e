// Brings a planned root into a sandbox: walks it on the host, streams it, has PID 1 unpack it as the server's user.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/supervisor.h"
#include "net/task.h"
#include "workspace/plan.h"
#include "workspace/stage.h"

namespace mcpbox::hosting {

struct StageTarget {
  uid_t uid = 0;
  gid_t gid = 0;
  std::chrono::milliseconds timeout{120'000};
};

// `root.mount` becomes a fresh copy of `root.host`. With `swap` the copy is unpacked beside the old one and renamed over it, so that
// a running server never sees half a tree; without it `root.mount` is an existing empty directory (a scratch mount).
Task<Result<workspace::StageReport>> stage_root(boost::asio::thread_pool& pool, box::Supervisor& supervisor, const workspace::Root& root,
                                                std::vector<std::string> allowed_roots, StageTarget target, bool swap);

}  // namespace mcpbox::hosting
