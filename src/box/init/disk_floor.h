// Decides who is ended when a file system is nearly full. No I/O and no clock.
//
// Only whoever is seen to have grown, and by more than what nobody explains: what the file system lost beside all that
// the servers grew by is the host's, another program's, or hidden. In doubt it is nobody.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace mcpbox::box::init {

class DiskFloor {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Server {
    std::uint32_t uid = 0;
    std::uint64_t grown = 0;          // lately, as the last walk showed
    std::optional<TimePoint> walked;  // the end of that walk
  };
  struct Verdict {
    std::optional<std::uint32_t> culprit;  // nobody: it cannot be told, which is worth a line
    std::uint64_t grown = 0;               // the most by which one grew
    std::uint64_t unexplained = 0;
  };

  // In each turn, with all servers that write to the file system; bytes. Says something at most every kAgain.
  std::optional<Verdict> look(std::uint64_t free, std::uint64_t floor, const std::vector<Server>& servers,
                              TimePoint now);

  static constexpr std::uint64_t kGrowth = 16ull << 20;  // less is nobody's fault that a disk is full
  static constexpr std::chrono::seconds kLately{10}, kAgain{2};
  // A walk that takes longer is not waited for.
  static constexpr std::chrono::seconds kPatience{3};

 private:
  struct Sample {
    TimePoint when;
    std::uint64_t free;
  };
  std::uint64_t lost_by(TimePoint when) const;

  std::deque<Sample> samples_;
  std::optional<TimePoint> low_since_, said_;
};

}  // namespace mcpbox::box::init
