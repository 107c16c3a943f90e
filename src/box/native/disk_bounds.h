// Bounds on what servers write (box/disk_bound.h), where the file system of the engine's folder has project quotas.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "box/disk_bound.h"
#include "net/task.h"

namespace mcpbox::box {

class DiskBounds {
 public:
  // `base`: the engine's folder, below which volumes and scratch folders are.
  explicit DiskBounds(std::string base) : base_(std::move(base)) {}

  // `places`: what the sandbox shows, each with its folder on the host. Null where there are no quotas, or not for us.
  Task<Result<std::shared_ptr<DiskBound>>> bound(DiskShare share, std::map<std::string, std::string> places);
  // Gives up what belonged to folders that are gone.
  Task<void> tidy();
  // EngineInfo::disk_limits.
  std::string describe() const;

 private:
  bool here() const;
  boost::asio::thread_pool& pool();

  std::string base_;
  std::shared_ptr<boost::asio::thread_pool> pool_;  // a walk of a server's folders is not for the loop
};

}  // namespace mcpbox::box
