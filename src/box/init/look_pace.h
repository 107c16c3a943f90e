// How long a closer look at a server may take: whoever has more than can be looked at in the time, or makes it slow on
// purpose, gets twice as much the next time.
#pragma once

#include <algorithm>
#include <chrono>

namespace mcpbox::box::init {

class LookPace {
 public:
  using Time = std::chrono::milliseconds;
  // `first`: where half an answer soon is worth more than all of it later, less than usual.
  explicit LookPace(Time first = kUsual) : first_(first), time_(first) {}

  Time time() const { return time_; }
  // `complete`: nothing was left out for want of time.
  void answered(bool complete) { time_ = complete ? std::max(first_, time_ / 2) : std::min(time_ * 2, kLongest); }

  static constexpr Time kUsual{1000}, kHurried{300}, kLongest{16'000};

 private:
  Time first_, time_;
};

}  // namespace mcpbox::box::init
