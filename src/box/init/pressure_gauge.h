// Decides whether a server takes so much of the processors that its neighbours may have to wait. No I/O and no clock.
#pragma once

#include <chrono>
#include <optional>

namespace mcpbox::box::init {

// Half a processor is everybody's. Who uses more gets ahead by what it uses beyond that, and presses as long as it is
// kBurst ahead: after four seconds of one processor.
class PressureGauge {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `used`: what its processes were seen to use since the look before.
  void look(std::chrono::microseconds used, TimePoint now);

  bool presses() const { return ahead_ >= kBurst; }
  // That it kept busy, in thousandths, since it began to get ahead.
  unsigned processors() const;

  static constexpr std::chrono::milliseconds kBurst{2000};

 private:
  std::chrono::microseconds ahead_{0};
  std::chrono::microseconds used_{0};  // since began_
  TimePoint began_;
  std::optional<TimePoint> last_;
};

}  // namespace mcpbox::box::init
