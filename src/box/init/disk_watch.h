// Watches what each server has on disk, in a process of its own: PID 1 waits for no file system.
//
// The walker is a child of PID 1 that is root without any capability but to take on, for the file system only, the uid
// of the server whose folders it looks at: no server may signal or trace it. It decides itself (disk_gauge.h) and tells
// PID 1 who passed a limit. It ends with PID 1, and is started again when it ends before.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/unique_fd.h"
#include "box/init/event_loop.h"
#include "box/wire/messages.h"

namespace mcpbox::box::init {

// What the walker is told, each in a packet. `limits` without folders: the uid is watched no more.
struct WalkOrder {
  std::uint32_t uid = 0, gid = 0;
  wire::ServerLimits limits;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.uid), v(s.gid), v(s.limits);
  }
};
// What it says.
struct WalkNews {
  std::uint32_t uid = 0;
  wire::PassedLimit passed;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.uid), v(s.passed);
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
  };
  void launch();
  void launch_later();
  // Of what changed as much as the link takes; the rest later.
  void send_changes();
  void hear();

  EventLoop& loop_;
  Passed passed_;
  std::map<uid_t, Watched> watched_;
  std::set<uid_t> changed_;  // since the walker was told
  UniqueFd link_;
  pid_t pid_ = -1;
  EventLoop::Timer launching_ = 0, sending_ = 0;
};

// The walker's own part: never returns before the other end of the link is closed.
void walk_for(int link);

}  // namespace mcpbox::box::init
