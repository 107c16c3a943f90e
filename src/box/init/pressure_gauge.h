// Decides whether a server takes so much of the processors that its neighbours may have to wait. No I/O and no clock.
#pragma once

#include <chrono>
#include <optional>

namespace mcpbox::box::init {

// A level of the processors is everybody's: half of one, or less where all are in use (processor_watch.h). Who uses
// more gets ahead by what it uses beyond that.
//
// kFirst ahead, it yields: it is to stand behind its neighbours, which costs it nothing as long as none of them wants
// what it uses. It does until it was not ahead for a while; who comes back to it soon, twice as long each time.
// kFar ahead it is to be kept from who else is on the machine, too. kBurst ahead (after four seconds of one processor)
// it presses, and is named.
class PressureGauge {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `used`: what its processes were seen to use since the look before. `level`: thousandths of a processor.
  void look(std::chrono::microseconds used, TimePoint now, unsigned level = kHalf);

  // It did what it may not: as if it had got ahead.
  void hold_against(TimePoint now);

  bool yields() const { return yields_; }
  bool far_ahead() const { return ahead_ >= kFar; }
  bool presses() const { return ahead_ >= kBurst; }
  // That it kept busy, in thousandths, since it began to get ahead.
  unsigned processors() const;
  // Of the same server, started again now: who yields, or did lately, begins with it, so that to be started again and
  // again is no way around it. Nothing else is held against it.
  PressureGauge started_again(TimePoint now) const;

  static constexpr unsigned kHalf = 500;
  static constexpr std::chrono::milliseconds kFirst{100}, kFar{1000}, kBurst{2000};
  static constexpr std::chrono::milliseconds kRest{2000}, kLongestRest{60'000};  // that it is not ahead
  static constexpr std::chrono::milliseconds kSoon{60'000};

 private:
  std::chrono::milliseconds next_rest(TimePoint now) const;

  std::chrono::microseconds ahead_{0};
  std::chrono::microseconds used_{0};  // since began_
  TimePoint began_;
  std::optional<TimePoint> last_;
  bool yields_ = false;
  std::chrono::milliseconds rest_{0};  // of this time, or of the last one
  TimePoint ahead_at_;                 // last, while it yields
  std::optional<TimePoint> yielded_;   // when that was over
};

}  // namespace mcpbox::box::init
