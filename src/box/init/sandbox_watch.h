// The memory of all servers of a sandbox together: what is known of each, round after round, and what follows from it.
//
// Lives on PID 1's loop, beside the accountant, which looks at the processes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "box/init/memory_gauge.h"
#include "box/init/sandbox_gauge.h"
#include "box/init/sandbox_memory.h"

namespace mcpbox::box::init {

// Whom the kernel takes if it is faster than we: one that is first, else one that is early, before all others.
enum class KernelTurn : std::uint8_t { kUsual, kEarly, kFirst };

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
    std::vector<uid_t> closely;                       // looked() is to be told
    std::vector<std::pair<uid_t, KernelTurn>> turns;  // those that are to be told to the kernel now
  };
  Round round(const std::vector<Seen>& servers, TimePoint now);
  void looked(uid_t uid, const std::optional<LookedClosely>& found, TimePoint now);
  // That a closer look at it may take now.
  LookPace::Time look_time(uid_t uid) const;
  // Is ended, for this limit or for another.
  void ending(uid_t uid) { known_of(uid).ending = true; }
  // Another server may have the uid.
  void forget(uid_t uid) { known_.erase(uid), above_.erase(uid), turns_.erase(uid); }

  bool near() const { return gauge_.near(); }
  bool matters() const { return matters_; }
  // Whether the kernel counts, and ends somebody when it is full.
  bool measured() const { return measured_; }
  // What to say of a server that the kernel ended because the sandbox was full; nothing of one that had no more than
  // its part in kRecent: when the kernel takes its last process, it has lost the others already.
  std::optional<wire::PassedLimit> above(uid_t uid) const;

  static constexpr std::chrono::milliseconds kValid{20'000}, kTurnAgain{500}, kRecent{5000};

 private:
  struct Look {
    std::uint64_t most = 0, unseen = 0;  // then
    LookedClosely found;
    TimePoint when;
  };
  struct Known {
    std::optional<Look> look;
    LookPace pace;
    bool looking = false, ending = false;
    std::uint64_t most = 0;  // when a look was asked for
    TimePoint asked, next;
  };
  Known& known_of(uid_t uid);
  ServerMemory memory_of(const Seen& server, bool measured, bool hint, TimePoint now);
  void choose_turns(const std::vector<uid_t>& suspects, TimePoint now, Round& round);
  void note_above(const std::vector<std::pair<uid_t, std::uint64_t>>& above, TimePoint now);

  SandboxMemory memory_;
  Held held_;
  SandboxGauge gauge_;
  std::map<uid_t, Known> known_;
  std::uint64_t unseen_ = 0;  // what nobody was seen to have in the last round
  std::uint64_t all_ = 0;
  bool matters_ = false, measured_ = false;
  struct Above {
    std::uint64_t bytes = 0;  // that it has, or had
    TimePoint when;
  };
  std::map<uid_t, Above> above_;
  struct Turn {
    KernelTurn turn;
    TimePoint told;
  };
  std::map<uid_t, Turn> turns_;
};

}  // namespace mcpbox::box::init
