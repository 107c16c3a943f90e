// One thread's epoll loop: descriptors, timers, deferred calls.
//
// By hand and not Asio's: mcpbox-init is static, is PID 1 of every sandbox, and its loop must be small enough to be
// read whole; it has no names to resolve and nothing to run in parallel.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using Ready = std::function<void(unsigned events)>;
  using Timer = std::uint64_t;

  EventLoop();
  // Level-triggered. The descriptor stays the caller's; unwatch() it before closing. Watching it again replaces events
  // and callback. Returns 0, or errno (of epoll_ctl(2)): the descriptor is not watched then.
  [[nodiscard]] int watch(int fd, unsigned events, Ready ready);
  void unwatch(int fd);
  Timer at(Clock::time_point when, std::function<void()> call);
  void cancel(Timer timer);
  // After the current callback: for objects that end in their own callback.
  void defer(std::function<void()> call);
  // Until stop(); returns 0, or errno when it cannot wait any more.
  [[nodiscard]] int run();
  void stop() { stopped_ = true; }

 private:
  int wait_ms() const;
  void run_due();

  struct Watch {
    std::uint32_t serial;
    Ready ready;
  };
  UniqueFd epoll_;
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::map<std::pair<Clock::time_point, Timer>, std::function<void()>> timers_;
  std::map<Timer, Clock::time_point> due_;
  std::vector<std::function<void()>> deferred_;
  std::uint32_t next_serial_ = 0;
  Timer next_timer_ = 0;
  bool stopped_ = false;
};

}  // namespace mcpbox::box::init
