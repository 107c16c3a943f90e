// Watches what each server has on disk, in a process of its own: PID 1 waits for no file system.
//
// The walker is a child of PID 1 that is root without any capability but to take on, for as long as it looks at a
// server's folders and files, its uid as the effective one: no server may signal or trace it. It decides itself
// (disk_gauge.h, disk_floor.h) and tells PID 1 who passed a limit. It ends with PID 1, and is started again when it
// ends before, with all that it has to know.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/event_loop.h"
#include "box/wire/messages.h"

namespace mcpbox::box::init {

// What the walker is told, each in a packet. `limits` without folders: the uid is watched no more.
struct WalkOrder {
  std::uint32_t uid = 0, gid = 0;
  wire::ServerLimits limits;
  std::uint64_t serial = 0;  // of this start, never used again
  std::uint64_t since = 0;   // when it started, nanoseconds since 1970
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.uid), v(s.gid), v(s.limits), v(s.serial), v(s.since);
  }
};
// What it says. The serial of the order: the uid may be another server's by now.
struct WalkNews {
  std::uint32_t uid = 0;
  wire::PassedLimit passed;
  std::uint64_t serial = 0;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.uid), v(s.passed), v(s.serial);
  }
};

class DiskWatch {
 public:
  using Passed = std::function<void(uid_t uid, const wire::PassedLimit& limit)>;

  // `passed` is called from the loop, and again later for who is still beyond a limit then.
  DiskWatch(EventLoop& loop, Passed passed) : loop_(loop), passed_(std::move(passed)) {}

  // Costs nothing for who has neither a limit of disk nor of files.
  void watch(uid_t uid, gid_t gid, const wire::ServerLimits& limits);
  // For each watch() once.
  void unwatch(uid_t uid);
  // True when the pid was the walker.
  bool reaped(pid_t pid);

 private:
  struct Watched {
    WalkOrder order;
    unsigned watches = 1;
    bool known = false;  // some walker has been told
  };
  void launch();
  void launch_in(std::chrono::milliseconds pause);
  std::vector<WalkOrder> orders() const;
  void tell(uid_t uid);
  void send_waiting();
  void hear();

  EventLoop& loop_;
  Passed passed_;
  std::map<uid_t, Watched> watched_;
  std::set<uid_t> waiting_;  // of whom the walker is still to be told
  std::uint64_t last_serial_ = 0;
  unsigned ended_early_ = 0;  // walkers in a row
  bool too_long_ = false;     // an order: the walker was ended for the next one to begin with it
  EventLoop::Clock::time_point launched_;
  UniqueFd link_;
  pid_t pid_ = -1;
  EventLoop::Timer launching_ = 0;
};

// The walker's own part: never returns before the other end of the link is closed. `orders`: with what it begins.
void walk_for(int link, const std::vector<WalkOrder>& orders);

}  // namespace mcpbox::box::init
