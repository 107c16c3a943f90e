#include "box/init/pressure_gauge.h"

#include <algorithm>

namespace mcpbox::box::init {

void PressureGauge::look(std::chrono::microseconds used, TimePoint now) {
  using namespace std::chrono;
  const TimePoint before = last_.value_or(now);
  if (ahead_.count() == 0) began_ = before, used_ = microseconds(0);
  last_ = now;
  used_ += used;
  // What it was ahead once is no debt for ever.
  const microseconds most = 2 * kBurst;
  ahead_ = std::clamp(ahead_ + used - duration_cast<microseconds>(now - before) / 2, microseconds(0), most);
}

unsigned PressureGauge::processors() const {
  if (!last_) return 0;
  using namespace std::chrono;
  const auto passed = std::max<std::int64_t>(1, duration_cast<microseconds>(*last_ - began_).count());
  return static_cast<unsigned>(used_.count() * 1000 / passed);
}

}  // namespace mcpbox::box::init
