// Long operations run in forked children of PID 1, so that it answers at any time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "box/init/event_loop.h"
#include "box/init/op.h"

namespace mcpbox::box::init {

// What a helper process runs: the bytes of the reply, or an error. It may call `answer` early and work on.
using Answer = std::function<void(const Op<std::string>&)>;
using Work = std::function<void(const Answer& answer)>;

class Helpers {
 public:
  explicit Helpers(EventLoop& loop) : loop_(loop) {}

  // `keep`: the only descriptors above 2 that the child inherits. `done` is called once, from the loop. At most 64 run,
  // up to 1,024 more wait. After `limit` the child is killed and `done` gets kTimeout.
  void start(Work work, std::vector<int> keep, std::chrono::milliseconds limit,
             std::function<void(Op<std::string>)> done);
  // True when the pid was one of ours.
  bool reaped(pid_t pid);

 private:
  struct Job {
    Work work;
    std::vector<int> keep;
    std::chrono::milliseconds limit{};
    std::function<void(Op<std::string>)> done;
    pid_t pid = -1;
    UniqueFd answer;
    std::string bytes;
    EventLoop::Timer timer = 0;
  };
  // Starts jobs that wait, as long as there is room.
  void launch_waiting();
  Op<void> launch(const std::shared_ptr<Job>& job);
  void collect(const std::shared_ptr<Job>& job);
  void finish(Job& job, Op<std::string> result);

  EventLoop& loop_;
  std::map<pid_t, std::shared_ptr<Job>> running_;
  std::deque<std::shared_ptr<Job>> waiting_;
};

}  // namespace mcpbox::box::init
