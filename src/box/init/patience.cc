#include "box/init/patience.h"

#include <utility>

namespace mcpbox::box::init {

Patience::Step Patience::look(std::chrono::microseconds used, bool runs, TimePoint now) {
  ++looks_;
  ran_ += runs ? 1 : 0;
  if (began_ && now - since_ < kSpan) return Step::kWait;
  const bool always = ran_ == looks_;
  const bool busy = began_ && (always || used - then_ >= kBusy);
  const bool again = std::exchange(busy_, busy) && busy;
  began_ = true;
  since_ = now;
  looks_ = ran_ = 0;
  then_ = used;
  if (again && terminated_) return Step::kKill;
  return busy && !std::exchange(terminated_, true) ? Step::kTerminate : Step::kWait;
}

}  // namespace mcpbox::box::init
