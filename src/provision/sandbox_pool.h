// The sandboxes in use, by name: opened once however many servers ask, shared, and declared lost when they are.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "box/sandbox.h"
#include "net/task.h"
#include "net/wait.h"

namespace mcpbox::provision {

// A work space that outlives its sandbox is a volume of the sandbox's name with this behind it.
inline constexpr std::string_view kWorkspaceSuffix = "-ws";

// A sandbox and who must hear of its processes. Lives on loop 0; servers hold it by shared_ptr while they use it.
class SharedSandbox {
 public:
  explicit SharedSandbox(std::unique_ptr<box::Sandbox> sandbox);

  box::Sandbox& sandbox() { return *sandbox_; }
  bool lost() const { return lost_.has_value(); }
  const std::string& loss() const { return *lost_; }  // in words; only when lost()

  using ExitHandler = std::function<void(const box::ProcessExit&)>;
  using LostHandler = std::function<void(const std::string& how)>;
  // One watcher for each process id; removed with unwatch before what the handlers refer to dies.
  void watch(const std::string& process_id, ExitHandler on_exit, LostHandler on_lost);
  void unwatch(const std::string& process_id);
  // Tells every watcher once.
  void declare_lost(const std::string& how);

 private:
  struct Watcher {
    ExitHandler on_exit;
    LostHandler on_lost;
  };
  std::unique_ptr<box::Sandbox> sandbox_;
  std::map<std::string, Watcher> watchers_;
  std::optional<std::string> lost_;
};

class SandboxPool {
 public:
  // `lost` is called when a sandbox broke, before anybody is told, so that the owner can ask the engine how, and then
  // call declare_lost.
  using LostCallback = std::function<void(std::shared_ptr<SharedSandbox>)>;
  SandboxPool(box::Engine& engine, boost::asio::any_io_executor executor, LostCallback lost);

  // The sandbox with options.name: the open one if its profile is the same and it is not lost, else a new one. On a
  // sandbox that is new to this process, processes of an earlier controller are killed and forgotten first.
  Task<Result<std::shared_ptr<SharedSandbox>>> acquire(box::SandboxOptions options);
  // Closes every sandbox: their sandboxes are removed.
  Task<Result<void>> close_all();

 private:
  struct Entry {
    std::shared_ptr<SharedSandbox> sandbox;
    std::string profile_hash;
    bool opening = false;
  };
  box::Engine& engine_;
  boost::asio::any_io_executor executor_;
  LostCallback lost_;
  net::Signal changed_;
  std::map<std::string, Entry> entries_;
};

}  // namespace mcpbox::provision
