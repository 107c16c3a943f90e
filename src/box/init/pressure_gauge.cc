#include "box/init/pressure_gauge.h"

#include <algorithm>

namespace mcpbox::box::init {
namespace {

// One step of the clock by which the kernel counts, and a half.
constexpr std::chrono::milliseconds kNothing{15};

}  // namespace

void PressureGauge::look(std::chrono::microseconds used, TimePoint now, unsigned level) {
  using namespace std::chrono;
  const TimePoint before = last_.value_or(now);
  if (ahead_.count() == 0) began_ = before, used_ = microseconds(0);
  last_ = now;
  used_ += used;
  // What it was ahead once is no debt for ever.
  const microseconds most = 2 * kBurst;
  ahead_ = std::clamp(ahead_ + used - duration_cast<microseconds>(now - before) * level / 1000, microseconds(0), most);
  if (!yields_ && ahead_ >= kFirst) {
    rest_ = next_rest(now);
    yields_ = true;
  }
  if (!yields_) return;
  if (ahead_ > kNothing) ahead_at_ = now;
  if (now - ahead_at_ < rest_) return;
  yields_ = false;
  yielded_ = now;
}

void PressureGauge::hold_against(TimePoint now) {
  if (!yields_) rest_ = next_rest(now);
  yields_ = true;
  ahead_at_ = now;
}

std::chrono::milliseconds PressureGauge::next_rest(TimePoint now) const {
  const bool soon = yields_ || (yielded_ && now - *yielded_ < kSoon);
  return soon ? std::min(2 * rest_, kLongestRest) : kRest;
}

PressureGauge PressureGauge::started_again(TimePoint now) const {
  PressureGauge next;
  if (!yields_ && (!yielded_ || now - *yielded_ >= kSoon)) return next;
  next.rest_ = next_rest(now);
  next.yields_ = true;
  next.ahead_at_ = now;
  return next;
}

unsigned PressureGauge::processors() const {
  if (!last_) return 0;
  using namespace std::chrono;
  const auto passed = std::max<std::int64_t>(1, duration_cast<microseconds>(*last_ - began_).count());
  return static_cast<unsigned>(used_.count() * 1000 / passed);
}

}  // namespace mcpbox::box::init
