// Counts what each server uses of memory and processes, ten times a second or more often, and tells who uses too much;
// and of the processors, more often while they are in use: who presses there, it puts behind the others (priority.h).
//
// Works without control groups. A server is known by its user id: of its processes it counts what is theirs alone, the
// shared memory that they have mapped, their page tables, and what lies in its own /tmp and /dev/shm. Where it matters
// what they share with each other, a closer look by a helper says so (close_look.h). What the kernel buffers for a
// server (pipes, sockets) is not counted for it alone, but where the kernel says what the whole sandbox has, it counts
// there: when all servers together use up its memory, the one that is furthest above its part is ended
// (sandbox_watch.h).
//
// Lives on PID 1's loop. A look costs 1 µs a process of a server; more than fit into one reading of a directory (about
// a thousand) are looked at one turn of the loop after the other. Of many thousands it takes a tenth of a processor,
// and is less often then.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/close_look.h"
#include "box/init/event_loop.h"
#include "box/init/memory_gauge.h"
#include "box/init/processor_watch.h"
#include "box/init/sandbox_processors.h"
#include "box/init/sandbox_watch.h"

namespace mcpbox::box::init {

class Accountant {
 public:
  using CloseLook = std::function<void(LookRequest request, std::function<void(std::optional<LookedClosely>)> done)>;
  using Passed = std::function<void(uid_t uid, const wire::PassedLimit& limit)>;

  // When the kernel takes these processes of the uid, if memory is short.
  using Turn = std::function<void(uid_t uid, gid_t gid, std::vector<pid_t> pids, KernelTurn turn)>;
  // A server that is not the only one takes so much of the processors that the others may have to wait; at most once in
  // kSayAgain.
  using Presses = std::function<void(uid_t uid, unsigned processors, std::uint64_t tasks)>;
  static constexpr std::chrono::minutes kSayAgain{10};
  // Puts a server's own control group behind the others, or back; false where it has none. `apart`: behind
  // all others of the machine, not within the sandbox alone.
  using Place = std::function<bool(uid_t uid, bool behind, bool apart)>;
  struct Links {
    CloseLook close_look;  // says later what look_closely() found, nothing if it could not
    Passed passed;         // called from the loop, and again after a second for who is still beyond a limit then
    Turn turn;
    Presses presses;
    SandboxWatch::Held held;
    int group = -1;  // of the sandbox (sandbox_memory.h)
    Place place;
    int usage = -1;           // of the sandbox (sandbox_processors.h)
    unsigned processors = 0;  // of the sandbox, in thousandths; 0: not known
  };
  Accountant(EventLoop& loop, Links links);

  // `pid`, which has the uid by now, runs a server with these limits. `memory`: its own memory file systems.
  // `ours`: the process of the uid that is not the server's, or 0. `nice`: its priority, as long as nobody else has
  // to wait for it.
  void watch(pid_t pid, uid_t uid, gid_t gid, const wire::ServerLimits& limits, std::vector<UniqueFd> memory,
             pid_t ours, int nice);
  // Bytes at the last look; 0 for who is not watched.
  std::uint64_t memory_of(uid_t uid) const;
  // The most that one of its processes had mapped of files: it counts in ru_maxrss, and is nobody's memory.
  std::uint64_t mapped_by(uid_t uid) const;
  // What to say of a server that the kernel ended because the sandbox was full; nothing of who had no more than its
  // part.
  std::optional<wire::PassedLimit> above_part(uid_t uid) const { return sandbox_.above(uid); }
  // Whether it takes so much of the processors that others may have to wait; false for who is not watched.
  bool presses(uid_t uid) const { return processors_.presses(uid); }
  // Or did so for a moment, lately.
  bool has_been_busy(uid_t uid) const { return processors_.yields(uid) || processors_.presses(uid); }
  // It passed a limit: when it comes again soon, it begins behind the others.
  void hold_against(uid_t uid) { processors_.hold_against(uid, EventLoop::Clock::now()); }
  // It is killed now: to die takes many processes long, and its neighbours need not wait for that at first.
  void stand_aside(uid_t uid);
  // Those that were found at the last look.
  std::vector<pid_t> processes_of(uid_t uid) const;
  // For each watch() once.
  void unwatch(uid_t uid);
  // Processor time of the sandbox that its own group does not count (SandboxProcessors::add()).
  void count_also(int usage) { group_.add(usage); }

 private:
  struct Watched {
    MemoryGauge gauge;
    gid_t gid = 0;
    wire::ServerLimits limits;
    std::vector<UniqueFd> memory;
    std::vector<pid_t> ours;
    unsigned watches = 1;
    std::uint64_t serial = 0;  // of the last watch()
    ServerSum sum;             // of the round under way
    std::uint64_t shared = 0;  // of `sum`
    std::uint64_t mapped = 0;
    int nice = 0;
    // Among the others.
    struct Place {
      bool behind = false, by_priority = false;
      int tell_back = 0;  // in how many rounds it is still to be told to come back
      int before = 0;     // the same of one before the others
      std::optional<EventLoop::Clock::time_point> dies_until;
    } place;
    std::optional<EventLoop::Clock::time_point> said_pressing;
  };
  struct Known {
    uid_t uid = 0;  // 0: not of a server, as far as was seen
    bool ours = false;
    UniqueFd pages;  // its statm, as long as not too many are open
    std::uint64_t round = 0;
    std::uint64_t shared_pages = 0;                   // when its status was read
    std::uint64_t shared = 0, tables = 0, tasks = 1;  // as its status said
    std::uint64_t swapped = 0;
    std::uint64_t number = 0;
    std::uint64_t anon = 0;  // at the last look
    ProcessorWatch::Sample sample;
  };
  void look();
  void count(pid_t pid);
  void count_activity(pid_t pid, Known& known, bool fresh, bool read, bool of_server);
  bool read_status_of(pid_t pid, Known& known);
  std::uint64_t tasks_now(uid_t uid);
  void finish_round();
  void look_at_processors(EventLoop::Clock::time_point now);
  // `apart`: see Place. `first`: a process that no look has seen yet.
  void put(uid_t uid, bool behind, bool apart, pid_t first = 0);
  void put_others();
  void look_at_sandbox(EventLoop::Clock::time_point now);
  void tell_turn(uid_t uid, KernelTurn turn);
  enum class For : std::uint8_t { kServer, kSandbox };
  void ask_closely(uid_t uid, For whom);

  EventLoop& loop_;
  Links links_;
  UniqueFd proc_;
  SandboxWatch sandbox_;
  SandboxProcessors group_;
  ProcessorWatch processors_;
  std::map<uid_t, Watched> watched_;
  std::unordered_map<pid_t, Known> known_;
  std::size_t most_open_ = 0;  // of Known::pages, over the whole
  std::uint64_t round_ = 0;
  std::uint64_t serial_ = 0;
  bool in_round_ = false;
  std::chrono::microseconds cost_{0};  // of the round under way
  EventLoop::Timer timer_ = 0;
};

}  // namespace mcpbox::box::init
