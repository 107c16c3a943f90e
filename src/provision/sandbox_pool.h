// The sandboxes in use, by name: opened once however many servers ask, shared by leases, and closed when nobody has had
// one for a while.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/sandbox.h"
#include "net/task.h"
#include "net/task_group.h"
#include "net/wait.h"

namespace mcpbox::provision {

// A work space that outlives its sandbox is a volume of the sandbox's name with this behind it.
inline constexpr std::string_view kWorkspaceSuffix = "-ws";

// A sandbox and who must hear of its processes. Lives on the loop; servers reach it through their lease.
class SharedSandbox {
 public:
  // `changed` is notified when something here does.
  SharedSandbox(std::unique_ptr<box::Sandbox> sandbox, std::shared_ptr<net::Signal> changed);

  box::Sandbox& sandbox() { return *sandbox_; }
  // The link to PID 1 is gone: nothing can be asked here any more. It is lost() once somebody knows how that came.
  bool broken() const { return broken_; }
  bool lost() const { return lost_.has_value(); }
  const std::string& loss() const { return *lost_; }  // in words; only when lost()

  using ExitHandler = std::function<void(const box::ProcessExit&)>;
  using LostHandler = std::function<void(const std::string& how)>;
  using PressureHandler = std::function<void(const box::ProcessPressure&)>;
  // One watcher for each process id; removed with unwatch before what the handlers refer to dies.
  void watch(const std::string& process_id, ExitHandler on_exit, LostHandler on_lost, PressureHandler on_pressure = {});
  void unwatch(const std::string& process_id);
  // For one that broke: tells every watcher once how, then removes what is left of it, on the host too.
  Task<void> bury(std::string how);
  bool buried() const { return buried_; }  // bury() came to its end

  // While it lives, a process is being ended: a start with its id or uid waits in clean(). Not to outlive this.
  class Ending {
   public:
    Ending(SharedSandbox& sandbox, std::string process_id, uid_t uid);
    ~Ending();
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;

   private:
    friend class SharedSandbox;
    SharedSandbox& sandbox_;
    std::string process_id_;
    uid_t uid_;
  };
  // What nobody else may have while processes of a uid live: its uids, its environment.
  using Held = std::vector<std::shared_ptr<void>>;
  // Kills everything of the uid. Where something may be left, that is logged, `held` is kept until the sandbox is gone,
  // and the result is false.
  Task<bool> kill(std::string process_id, uid_t uid, Held held);
  // Before a start: returns when no process with that id or uid is being ended any more, and tries again to end what
  // kill() could not. kUnavailable when it still cannot.
  Task<Result<void>> clean(std::string process_id, uid_t uid);

 private:
  void declare_lost(const std::string& how);
  void link_broke();
  friend class SandboxPool;
  struct Watcher {
    ExitHandler on_exit;
    LostHandler on_lost;
    PressureHandler on_pressure;
  };
  std::unique_ptr<box::Sandbox> sandbox_;
  std::map<std::string, Watcher> watchers_;
  std::shared_ptr<net::Signal> changed_;
  bool broken_ = false;
  bool buried_ = false;
  std::optional<std::string> lost_;
  std::set<const Ending*> ending_;
  struct Left {
    uid_t uid = 0;
    Held held;
  };
  std::vector<Left> left_;
  unsigned users_ = 0;  // leases
};

class SandboxPool {
 public:
  // Keeps its sandbox from being closed. Must not outlive the pool.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          sandbox_(std::move(other.sandbox_)),
          opened_(other.opened_),
          close_at_once_(other.close_at_once_) {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { give_back(); }

    explicit operator bool() const { return pool_ != nullptr; }
    SharedSandbox* operator->() const { return sandbox_.get(); }
    SharedSandbox& operator*() const { return *sandbox_; }
    // The sandbox was not open before somebody asked for this one.
    bool opened() const { return opened_; }
    // Should nobody else have one when this is given back, the sandbox is closed without waiting for the next.
    void close_at_once() { close_at_once_ = true; }
    void give_back();

   private:
    friend class SandboxPool;
    Lease(SandboxPool& pool, std::shared_ptr<SharedSandbox> sandbox, bool opened);

    SandboxPool* pool_ = nullptr;
    std::shared_ptr<SharedSandbox> sandbox_;
    bool opened_ = false;
    bool close_at_once_ = false;
  };

  // `lost` is called when a sandbox broke, before anybody is told, so that the owner can ask the engine how, and then
  // call bury(); until then nobody gets one of that name. Without one the pool asks. `idle`: how long a sandbox stays
  // open that nobody has a lease of.
  using LostCallback = std::function<void(std::shared_ptr<SharedSandbox>)>;
  SandboxPool(box::Engine& engine, boost::asio::any_io_executor executor, std::chrono::milliseconds idle,
              LostCallback lost);
  // Where sandboxes come from; box::Sandbox::open unless it is set.
  using Opener = std::function<Task<Result<std::unique_ptr<box::Sandbox>>>(box::SandboxOptions)>;
  void open_with(Opener opener) { opener_ = std::move(opener); }

  // The sandbox with options.name: the open one if its profile is the same and it did not break, else a new one. On a
  // sandbox that is new to this process, processes of an earlier controller are killed and forgotten first. Whoever is
  // cancelled while it opens leaves nothing: it goes on opening, and is closed as any that nobody uses.
  Task<Result<Lease>> acquire(box::SandboxOptions options);

  // After the idle time, once: removes what earlier daemons of this instance left and nobody has asked for since.
  void sweep(std::string instance);
  // Work that outlives who began it, such as ending a process whose start was cancelled. Joined by close_all().
  void finish_later(std::string name, Task<void> task) { tasks_.spawn(std::move(name), std::move(task)); }

  // Ends all tasks and closes every sandbox: their sandboxes are removed. To be awaited before the pool dies; no lease
  // is in use any more.
  Task<Result<void>> close_all();

 private:
  struct Entry {
    std::shared_ptr<SharedSandbox> sandbox;
    std::string profile_hash;
    bool opening = false;
    bool closing = false;
    bool watched = false;  // a task closes it when it has been idle long enough
    std::chrono::steady_clock::time_point idle_since;
    unsigned waiting = 0;          // for it to be opened or closed
    unsigned attempt = 0;          // counts openings
    std::optional<Error> failure;  // of the newest
  };

  struct Closing {
    std::map<std::string, Entry> left;
    Result<void> outcome;
  };

  Task<void> open(box::SandboxOptions options);
  Task<Result<std::shared_ptr<SharedSandbox>>> open_one(box::SandboxOptions options);
  Task<void> close_idle(std::string name);
  Task<void> sweep_after(std::string instance);
  Task<void> sweep_one(std::string name, box::SandboxState sandbox);
  static Task<void> close_each(std::shared_ptr<Closing> closing);
  void became_idle(SharedSandbox& sandbox, bool at_once);

  box::Engine& engine_;
  std::chrono::milliseconds idle_;
  LostCallback lost_;
  Opener opener_;
  const std::shared_ptr<net::Signal> changed_;
  bool stopping_ = false;
  std::map<std::string, Entry> entries_;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::provision
