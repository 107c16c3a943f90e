// Watches the hogs among the servers that were told to end, and ends those that take no notice (patience.h).
//
// Nearly every server is none, and has all the time that its controller gives it: to write out what it has it may work
// as hard as it can. Two are. Who pressed its neighbours when it was told (pressure_gauge.h) is known for it. And to
// who ignored SIGTERM then no more can be said; one that begins to ignore it while it cleans up is no such.
//
// Lives on PID 1's loop. A look reads what /proc says of each process of theirs, 20 times a second, as long as one
// runs, for kLongest at most.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/event_loop.h"
#include "box/init/patience.h"

namespace mcpbox::box::init {

class Farewell {
 public:
  struct Links {
    // Whether the process `id` still runs, as this pid.
    std::function<bool(const std::string& id, pid_t pid)> runs;
    // Of the uid, as far as they are known.
    std::function<std::vector<pid_t>(uid_t uid)> processes;
    // With kTerminate or kKill, from the loop.
    std::function<void(const std::string& id, uid_t uid, Patience::Step step)> act;
  };
  Farewell(EventLoop& loop, Links links);

  // It was told now. `busy`: it has kept the processors so before. Again: nothing changes.
  void begin(const std::string& id, pid_t pid, uid_t uid, bool busy);

  static constexpr std::chrono::seconds kLongest{10};

 private:
  struct Told {
    pid_t pid = -1;
    uid_t uid = 0;
    EventLoop::Clock::time_point since;
    Patience patience;
    std::chrono::microseconds used{0};
    bool began = false;
    std::unordered_map<pid_t, std::chrono::microseconds> seen;
  };
  void look();
  // Whether one of them runs. What is counted is the least that they used: what ended since the last look is lost.
  bool count(Told& told, EventLoop::Clock::time_point now) const;

  EventLoop& loop_;
  Links links_;
  UniqueFd proc_;
  std::map<std::string, Told> told_;
  EventLoop::Timer timer_ = 0;
};

}  // namespace mcpbox::box::init
