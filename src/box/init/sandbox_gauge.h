// Decides who is ended when the servers of a sandbox are about to use up its memory together. No I/O.
//
// Each server has a part of the memory: what it names, or an equal part of what nobody has named. Who is ended is
// certainly above its part, and nobody is further above as far as can be known; in doubt nobody is.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "box/wire/messages.h"

namespace mcpbox::box::init {

inline constexpr std::uint64_t kUnknownMemory = ~std::uint64_t{0} >> 16;  // many of them can be added up

inline std::uint64_t left_of(std::uint64_t from, std::uint64_t taken) {
  return from - (from < taken ? from : taken);
}

// Of one server, in bytes. What its processes have is between `least` and `most`: those are one when it was looked at
// closely. `hidden` is the most that the kernel can have for it besides (memory that nobody has mapped any more,
// mappings, buffers): kUnknownMemory where nobody looked or could see.
struct ServerMemory {
  uid_t uid = 0;
  std::uint64_t limit = 0;
  bool named = false;  // the limit, which is its part then
  std::uint64_t least = 0, most = 0, hidden = 0;
  std::uint64_t evidence = 0;  // how much of `hidden` a look has seen a place for
  bool look = false;           // a closer look would say more, and may be had now
  bool looking = false;
  bool ending = false;
};

struct SandboxUse {
  std::uint64_t all = 0;      // that the servers may have together
  std::uint64_t ceiling = 0;  // of the sandbox, where the kernel ends somebody; 0: none
  std::uint64_t used = 0;     // cached files not among it
  bool measured = false;      // by the kernel, with what is ours; else it is the most that the servers can have
  std::uint64_t sure = 0;     // where it is not measured: what they have at least
};

// What each may have, in the order of the servers. Together that is `all`; who names more than there is has less.
std::vector<std::uint64_t> parts_of(const std::vector<ServerMemory>& servers, std::uint64_t all);

// Beyond this somebody is ended: what all servers may have and a little more, since we look at them at different times
// and what is ours is not known to the byte; always before the kernel does.
std::uint64_t memory_bound(const SandboxUse& use);

class SandboxGauge {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Verdict {
    std::vector<uid_t> suspects;  // if the kernel is faster, it is to take one of these, the first one first
    std::optional<std::pair<uid_t, wire::PassedLimit>> end;
    std::vector<std::pair<uid_t, std::uint64_t>> above;  // their parts, as far as is seen, with what they have
    std::vector<uid_t> look;                             // closely
    bool doubt = false;                                  // that it cannot be known who it is, once in kQuiet
  };
  Verdict look(const std::vector<ServerMemory>& servers, const SandboxUse& use, TimePoint now);
  // Whether so much is used that it has to be known by whom.
  static bool matters(const SandboxUse& use) { return use.used > memory_bound(use) / 2; }
  // Whether it could be full soon: half of it is used, or it grew fast.
  bool near() const { return near_; }

  static constexpr std::chrono::milliseconds kSettle{1000}, kQuiet{60'000};
  static constexpr std::uint64_t kOurs = 16ull << 20;

 private:
  std::uint64_t last_ = 0;
  bool near_ = false;
  std::optional<TimePoint> ended_, said_;
};

}  // namespace mcpbox::box::init
