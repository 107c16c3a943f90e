#include "box/init/disk_floor.h"

#include <algorithm>

namespace mcpbox::box::init {
namespace {

constexpr std::chrono::milliseconds kBetween{50};

}  // namespace

// Against the most that was free lately. What was written after the walks is not held against what they saw.
std::uint64_t DiskFloor::lost_by(TimePoint when) const {
  std::uint64_t most = 0, then = samples_.front().free;
  for (const Sample& sample : samples_) {
    if (sample.when > when) break;
    most = std::max(most, sample.free);
    then = sample.free;
  }
  return most > then ? most - then : 0;
}

std::optional<DiskFloor::Verdict> DiskFloor::look(std::uint64_t free, std::uint64_t floor,
                                                  const std::vector<Server>& servers, TimePoint now) {
  if (samples_.empty() || now - samples_.back().when >= kBetween) samples_.push_back({now, free});
  while (samples_.size() > 1 && now - samples_[1].when >= kLately) samples_.pop_front();
  if (free >= floor) {
    low_since_.reset();
    return std::nullopt;
  }
  if (!low_since_) low_since_ = now;
  Verdict verdict;
  std::uint64_t grown = 0;
  TimePoint seen = now;
  for (const Server& server : servers) {
    if (server.walked && *server.walked >= *low_since_) {
      seen = std::min(seen, *server.walked);
    } else if (now - *low_since_ < kPatience) {
      return std::nullopt;
    }
    grown += server.grown;
    if (server.grown >= kGrowth && server.grown > verdict.grown) {
      verdict.culprit = server.uid;
      verdict.grown = server.grown;
    }
  }
  if (!verdict.culprit || (said_ && now - *said_ < kAgain)) return std::nullopt;
  const std::uint64_t lost = lost_by(seen);
  verdict.unexplained = lost > grown ? lost - grown : 0;
  if (verdict.unexplained >= verdict.grown) verdict.culprit.reset();
  said_ = now;
  low_since_.reset();  // the next one is looked for anew
  return verdict;
}

}  // namespace mcpbox::box::init
