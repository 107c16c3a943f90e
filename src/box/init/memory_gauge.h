// Decides whether a server uses too much memory or too many processes, and how soon to look again. No I/O and no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "box/init/look_pace.h"
#include "box/wire/messages.h"

namespace mcpbox::box::init {

// What all processes of a server have together. Memory that several of them share (after a fork, or by mapping it)
// counts for each of them in `most`; `least` is what the largest one has. Bytes.
struct ServerSum {
  std::uint64_t most = 0, least = 0;
  std::uint64_t tasks = 0;  // processes and threads, those of ours not among them
};

// What a closer look found; where there was no time to look at all of it, there is more.
struct LookedClosely {
  std::uint64_t bytes = 0;
  bool all = true;
  // What the kernel can have besides, at most, where that was asked; with `hidden_all` nothing was out of sight.
  std::optional<std::uint64_t> hidden;
  bool hidden_all = false;
};

class MemoryGauge {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Verdict {
    std::optional<wire::PassedLimit> passed;
    bool look_closely = false;  // shared memory decides: looked() is to be told what it is
  };

  explicit MemoryGauge(const wire::ServerLimits& limits) : memory_(limits.memory_bytes), processes_(limits.processes) {}

  // Tells of one look. More processes than allowed pass the limit when there are so many for kBeyond, and who has just
  // all of them for kFull is taken to be without an end: the kernel lets nobody have many more (process_room.h). What
  // was passed is not passed again for kAgain, in which the server is ended.
  Verdict look(const ServerSum& sum, TimePoint now);
  // What a closer look found; nothing: it could not be had. Who shares how much is in doubt then, and nobody is ended
  // in doubt. The next one comes when ten times as long as this one took has passed.
  void looked(std::optional<LookedClosely> found, TimePoint now);

  // Whether it could be beyond its memory soon: half of it is used, or it grew fast.
  bool near() const { return near_; }
  std::uint64_t last() const { return last_; }
  // That a closer look may take now.
  LookPace::Time look_time() const { return pace_.time(); }

  static constexpr std::chrono::milliseconds kFull{500}, kBeyond{50}, kAgain{1000}, kCloser{2000};
  static constexpr int kRest = 10;

 private:
  struct Closer {
    std::uint64_t most = 0;  // then
    std::uint64_t exact = 0;
    TimePoint when;
  };
  std::uint64_t memory_, processes_;
  std::uint64_t last_ = 0;
  bool near_ = false;
  bool looking_ = false;
  LookPace pace_;
  std::uint64_t most_when_asked_ = 0;
  TimePoint asked_, next_;  // the last closer look, and when there may be another
  std::optional<Closer> closer_;
  std::optional<TimePoint> full_since_, beyond_since_, passed_;
};

// How long to wait after a look at all servers that took `cost` of a processor: less than a tenth of a second, where
// one is near its limit as little as does not take more than one hundredth of a processor. Looks that take more than
// nine milliseconds (of many thousands of processes) are rarer: they have a tenth of a processor.
std::chrono::milliseconds pause_after(std::chrono::microseconds cost, bool near);

}  // namespace mcpbox::box::init
