#include "box/init/memory_gauge.h"

#include <algorithm>

namespace mcpbox::box::init {

MemoryGauge::Verdict MemoryGauge::look(const ServerSum& sum, TimePoint now) {
  Verdict verdict;
  std::uint64_t use = sum.most;
  if (memory_ != 0 && sum.most > memory_ && sum.least <= memory_) {
    // What has come since the closer look is taken to be shared with nobody until there is another, and so is what
    // went.
    if (closer_ && sum.most >= closer_->most) use = closer_->exact + (sum.most - closer_->most);
    if (closer_ && sum.most < closer_->most) use = closer_->exact - std::min(closer_->exact, closer_->most - sum.most);
    const std::uint64_t step = memory_ / 16;
    const bool old = !closer_ || now - closer_->when >= kCloser || sum.most > closer_->most + step ||
                     sum.most + step < closer_->most;
    // Who was beyond the limit at the last look is not waited for to stop growing.
    const bool certain = closer_ && closer_->exact > memory_ && use > memory_;
    verdict.look_closely = !looking_ && !certain && (old || use > memory_) && now >= next_;
    if (verdict.look_closely) most_when_asked_ = sum.most, asked_ = now;
    looking_ = looking_ || verdict.look_closely;
    if (!certain) use = std::min(use, memory_);  // in doubt
  } else {
    closer_.reset();
  }
  use = std::max(use, std::min(sum.least, sum.most));
  const std::uint64_t grown = use > last_ ? use - last_ : 0;
  near_ = memory_ != 0 && (use > memory_ / 2 || grown > memory_ / 32);
  last_ = use;
  const bool beyond = processes_ != 0 && sum.tasks > processes_;
  const bool full = beyond || (processes_ != 0 && sum.tasks == processes_);
  if (!full) full_since_.reset();
  if (full && !full_since_) full_since_ = now;
  if (!beyond) beyond_since_.reset();
  if (beyond && !beyond_since_) beyond_since_ = now;
  if (passed_ && now - *passed_ < kAgain) return verdict;
  if (memory_ != 0 && use > memory_) {
    verdict.passed = {wire::LimitKind::kMemory, memory_, use};
  } else if ((full && now - *full_since_ >= kFull) || (beyond && now - *beyond_since_ >= kBeyond)) {
    verdict.passed = {wire::LimitKind::kProcesses, processes_, sum.tasks};
  }
  if (verdict.passed) passed_ = now;
  return verdict;
}

void MemoryGauge::looked(std::optional<LookedClosely> found, TimePoint now) {
  looking_ = false;
  pace_.answered(found && found->all);
  next_ = now + kRest * (now - asked_);
  if (found && (found->all || found->bytes > memory_)) closer_ = Closer{most_when_asked_, found->bytes, now};
}

std::chrono::milliseconds pause_after(std::chrono::microseconds cost, bool near) {
  using std::chrono::milliseconds;
  constexpr milliseconds kLongest{90}, kShortest{5};
  const auto usual =
      near ? std::clamp(std::chrono::duration_cast<milliseconds>(cost * 100), kShortest, kLongest) : kLongest;
  return std::max(usual, std::chrono::duration_cast<milliseconds>(cost * 10));
}

}  // namespace mcpbox::box::init
