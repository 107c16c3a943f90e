// How long a hog is waited for that was told to end. No I/O and no clock.
#pragma once

#include <chrono>

namespace mcpbox::box::init {

// Who told it waits for seconds, with or without this. But who goes on as if nothing had been said is not on its way
// out: after a span in which it kept half a processor busy it gets SIGTERM, and after another one right behind it
// SIGKILL. Where there are fewer processors than who wants one, it is enough that it wanted one all the time. One that
// waits for something, or works a little, has all the time.
class Patience {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Step { kWait, kTerminate, kKill };

  // `used`: processor time of all its processes since it was told. `runs`: one of them runs, or waits for a processor.
  Step look(std::chrono::microseconds used, bool runs, TimePoint now);

  static constexpr std::chrono::milliseconds kSpan{300}, kBusy{150};

 private:
  bool began_ = false, busy_ = false, terminated_ = false;  // `busy_`: in the span before
  int looks_ = 0, ran_ = 0;                                 // in this span
  TimePoint since_;
  std::chrono::microseconds then_{0};
};

}  // namespace mcpbox::box::init
