// The memory of all servers of a sandbox together: what is known of each, round after round, and what follows from it.
//
// Lives on PID 1's loop, beside the accountant, which looks at the processes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "box/init/memory_gauge.h"
#include "box/init/sandbox_gauge.h"
#include "box/init/sandbox_memory.h"

namespace mcpbox::box::init {

class SandboxWatch {
 public:
  using TimePoint = SandboxGauge::TimePoint;
  // What the server's own control group holds, where it has one.
  using Held = std::function<std::optional<std::uint64_t>(uid_t uid)>;
  // `group`: see SandboxMemory.
  SandboxWatch(int group, Held held) : memory_(group), held_(std::move(held)) {}

  struct Seen {
    uid_t uid = 0;
    std::uint64_t limit = 0, all = 0;
    bool named = false;
    ServerSum sum;
    std::uint64_t shared = 0;  // of `sum`, shared memory and files in memory
  };
  struct Round {
    std::optional<std::pair<uid_t, wire::PassedLimit>> end;
    std::vector<uid_t> closely;  // looked() is to be told
    // Whom the kernel is to take first if it is faster, and who is not that one any more.
    std::optional<uid_t> prefer, release;
  };
  Round round(const std::vector<Seen>& servers, TimePoint now);
  void looked(uid_t uid, const std::optional<LookedClosely>& found, TimePoint now);
  // Is ended, for this limit or for another.
  void ending(uid_t uid) { known_[uid].ending = true; }
  // Another server may have the uid.
  void forget(uid_t uid) { known_.erase(uid), above_.erase(uid); }

  bool near() const { return gauge_.near(); }
  bool matters() const { return matters_; }
  // Whether the kernel counts, and ends somebody when it is full.
  bool measured() const { return measured_; }
  // What to say of a server that the kernel ended because the sandbox was full; nothing of one that had no more than
  // its part.
  std::optional<wire::PassedLimit> above(uid_t uid) const;

  static constexpr std::chrono::milliseconds kValid{20'000}, kPreferAgain{500};

 private:
  struct Look {
    std::uint64_t most = 0, unseen = 0;  // then
    LookedClosely found;
    TimePoint when;
  };
  struct Known {
    std::optional<Look> look;
    bool looking = false, ending = false;
    std::uint64_t most = 0;  // when a look was asked for
    TimePoint asked, next;
  };
  ServerMemory memory_of(const Seen& server, bool measured, bool hint, TimePoint now);
  void choose_preferred(std::optional<uid_t> suspect, TimePoint now, Round& round);

  SandboxMemory memory_;
  Held held_;
  SandboxGauge gauge_;
  std::map<uid_t, Known> known_;
  std::uint64_t unseen_ = 0;  // what nobody was seen to have in the last round
  std::uint64_t all_ = 0;
  bool matters_ = false, measured_ = false;
  std::map<uid_t, std::uint64_t> above_;  // what they have
  std::optional<uid_t> preferred_;
  TimePoint preferred_at_;
};

}  // namespace mcpbox::box::init
