// How much work a peer may cause that nobody asked it for, over time: a token bucket. Pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace mcpbox::hosting {

class FlowBudget {
 public:
  using Clock = std::chrono::steady_clock;

  // `burst` units at once, `per_second` over time.
  FlowBudget(double per_second, double burst) : per_second_(per_second), burst_(burst), left_(burst) {}

  void charge(std::size_t units, Clock::time_point now) {
    refill(now);
    left_ -= static_cast<double>(units);
  }
  bool spent(Clock::time_point now) {
    refill(now);
    return left_ < 0;
  }
  // How long until there is something left again.
  Clock::duration wait(Clock::time_point now) {
    refill(now);
    if (left_ >= 0) return Clock::duration(0);
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(-left_ / per_second_));
  }

 private:
  void refill(Clock::time_point now) {
    if (now > last_) {
      left_ = std::min(burst_, left_ + per_second_ * std::chrono::duration<double>(now - last_).count());
    }
    last_ = std::max(now, last_);
  }

  double per_second_, burst_, left_;
  Clock::time_point last_{};
};

}  // namespace mcpbox::hosting
