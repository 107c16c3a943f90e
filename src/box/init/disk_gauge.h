// Decides when a server's folders are to be walked, and whether they hold too much. No I/O and no clock.
//
// A walk is dear and statfs(2) is not: until the file systems lost so much that the server could have passed its limit
// by half of what was left of it, it need not be looked at again.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "box/wire/messages.h"

namespace mcpbox::box::init {

// What the file systems that a server writes to have left.
struct FreeSpace {
  std::uint64_t bytes = 0, files = 0;
};
struct TreeUse {
  std::uint64_t bytes = 0, files = 0;
  std::map<std::uint64_t, std::uint64_t> on;  // the bytes, by file system (st_dev)

  void add(std::uint64_t device, std::uint64_t more) { bytes += more, on[device] += more; }
  void add(const TreeUse& more);
  // What it has beyond `other`; both were made by add().
  TreeUse beyond(const TreeUse& other) const;
};

class DiskGauge {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  explicit DiskGauge(const wire::ServerLimits& limits) : disk_(limits.disk_bytes), files_(limits.files) {}

  // Whether to walk now. `urgent`: its file system is nearly full, and the one who grows is looked for.
  bool due(const FreeSpace& free, bool urgent, TimePoint now) const;
  // A walk is done: what is there, what was free when it began, and how long it worked.
  void walked(const TreeUse& use, const FreeSpace& free, Duration worked, TimePoint now);
  // Also of a walk under way, which has seen this much at least.
  std::optional<wire::PassedLimit> passed(const TreeUse& use, TimePoint now);
  // The same by what the file system still lets it write, where that holds its limits (wire/disk_room.h): every time.
  // `free`: what the file system has left for all.
  std::optional<wire::PassedLimit> refused(const FreeSpace& left, const FreeSpace& free, TimePoint now);
  // By how many bytes it grew on that file system in the last kLately, as far as was seen.
  std::uint64_t grown(std::uint64_t device, TimePoint now) const;
  // The end of the last walk; nothing before the first.
  std::optional<TimePoint> last_walk() const { return last_walk_; }

  static constexpr std::chrono::seconds kLately{10}, kAgain{2}, kSlow{10};
  // After a walk, at least; and three times as long as it took.
  static constexpr std::chrono::milliseconds kFast{100}, kGrowing{400};

 private:
  struct Sample {
    TimePoint when;
    std::map<std::uint64_t, std::uint64_t> on;
  };
  std::uint64_t disk_, files_;
  TreeUse last_;
  FreeSpace free_;
  Duration worked_{0};
  bool growing_ = false;
  std::optional<TimePoint> last_walk_, passed_;
  std::deque<Sample> samples_;
};

// The free bytes below which a file system of this size is nearly full: a twentieth, at most 1 GiB.
std::uint64_t floor_of(std::uint64_t size);

}  // namespace mcpbox::box::init
