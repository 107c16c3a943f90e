// A control group for each server, below the sandbox's own: whoever passes a limit there is ended alone.
//
// Where the native engine makes groups as root (wire::BuildCgroup::servers): PID 1 keeps descriptors of the sandbox's
// groups from before it lost sight of them, and nothing of the control group file systems is in the sandbox's tree, so
// no server can write to a group, and none can leave its own. In a container they are there, read-only, and a
// controller that may do so on the host hands PID 1 a group of the `cpu` controller alone (take()): its servers' groups
// share the processors out, and tell nothing of memory.
//
// Who is behind: a sandbox's group weighs as much as who else is on the machine, whoever runs in it, and the scheduler
// lets who wakes up outside of it (a client, the daemon) wait for its next tick while a server spins. Where there is
// a group for that (version 1, wire::BuildCgroup::idle), the processes of who presses are moved there, apart: it is
// idle for the whole machine. Not where the sandbox may use less than all processors: that limit is its group's.
// Version 2 has one hierarchy for all limits, which nobody can leave: there a server is behind within its sandbox only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box::init {

// One server's group, as the child sees it that makes it.
struct ServerGroup {
  std::vector<UniqueFd> directories;  // one for each of the sandbox's groups that has groups of servers
  UniqueFd told;                      // tells when memory is short; see ServerGroups::told_events()
};

// The sandbox's own group, which is the one of its only server.
inline constexpr const char* kWholeGroup = ".";

// What the kernel has counted in a group.
struct GroupMemory {
  std::uint64_t kills = 0;                 // for whosever limit
  std::optional<std::uint64_t> own_limit;  // how often the group's own limit was the reason to kill (version 2)
  std::uint64_t peak = 0;                  // bytes, cached files among them; 0: not known
  std::uint64_t held = 0;                  // bytes now, without cached files (version 1); 0: not known
};

// Whether the kernel killed something in a group for that group's own limit since `then`. A sandbox that is short of
// memory kills in groups of servers too, and of those that have not come near their limit it is none of theirs: in
// doubt it is not. `used`: the most that the server was seen to use, which decides where the kernel does not say whose
// limit it was. The peak of a group that is older than the server says nothing of it: `whole`.
bool killed_for_own_limit(const GroupMemory& then, const GroupMemory& now, std::uint64_t used, std::uint64_t limit,
                          bool whole);

class ServerGroups {
 public:
  // While the host's file systems are still to be seen. Without groups for servers: any() is false.
  static Op<ServerGroups> open(const std::vector<wire::BuildCgroup>& groups);
  // By PID 1 of a container, which has none, before servers start: a group of version 1 that it may write to, one for
  // those that are behind (or none), and what the whole sandbox may use of processors, in thousandths (0: not known).
  // One that has groups keeps those. Nothing is taken unless a group can be made there.
  Op<void> take(UniqueFd directory, UniqueFd idle, unsigned processors);
  // By PID 1, when it is in the sandbox's groups and its control group namespace: makes room for groups below them.
  Op<void> settle() const;

  bool any() const { return each_; }
  // Whether the kernel counts the memory of a group that was entered, mapped or not.
  bool count_memory() const;
  std::vector<int> descriptors() const;

  // By the child that a server will be: makes the group and moves into it, with all that it starts from then on. On
  // kernels with control groups of version 1 the move waits for every processor (milliseconds).
  Op<ServerGroup> enter(const std::string& name) const;
  // The limits, before the server's program runs.
  Op<void> limit(const ServerGroup& group, const wire::ServerLimits& limits) const;

  // By PID 1: as ServerGroup::told, of the whole sandbox. Empty where there is no group, or it does not tell.
  UniqueFd watch_whole() const;
  // What to wait for on those descriptors (epoll_ctl(2)). A file of a control group can always be read: only that it
  // has changed is news. An eventfd, which stands for it in version 1, can be read when there is news.
  unsigned told_events() const;
  // By PID 1: whoever is in the group stands behind all who are in none of those, and gets what they leave; or as
  // before again. cpu.idle, and on kernels before 5.15 the least weight. False where processors are not shared out by
  // groups, or the group is gone.
  bool place(const std::string& name, bool behind) const;
  // Whether somebody of the server is not (yet) where move() would have him; false where there is no group apart.
  bool to_move(const std::string& name, bool apart) const;
  // Makes it, with the server's own limit; before somebody is moved, and not by who moves: it is removed later.
  void make_apart(const std::string& name) const;
  // By a process of its own: how many were moved. Each takes 1 to 50 ms, in which nobody on the machine can start
  // a process. So it is at most kMostMoved of them, and none twice: kernels may go on listing one whose first thread
  // has ended. Who cannot be moved is left where he is.
  std::size_t move(const std::string& name, bool apart) const;
  static constexpr std::size_t kMostMoved = 64;
  // The processor time of those that are or were in the groups apart, where the sandbox's own does not count it (see
  // processor_usage()); -1: it does, or there are none. The descriptor stays ours.
  int idle_usage() const { return idle_usage_.get(); }
  // The processor time of the whole sandbox (sandbox_processors.h); -1: it is not counted. The descriptor stays ours.
  int processor_usage() const { return usage_.get(); }
  // Those that the whole sandbox may use, in thousandths; 0: no limit is known.
  unsigned processor_limit() const { return processors_; }
  // Whether there is a group for it, whoever is in it.
  bool is_there(const std::string& name) const;
  // Whether somebody is in a group for a server.
  bool is_used(const std::string& name) const;
  // By PID 1; `name` has been entered, or is kWholeGroup.
  GroupMemory memory_of(const std::string& name) const;
  // The sandbox's own group in the hierarchy that counts memory; -1: there is none. The descriptor stays ours.
  int memory_directory() const;
  // Starts a process of its own that removes the group as soon as nothing is left in it, within seconds. What remains
  // then, or when no process could be made, is tried again at the next removal, and goes with the sandbox.
  void remove(const std::string& name);

 private:
  struct Place {
    wire::BuildCgroup group;
    UniqueFd directory;
    UniqueFd idle;  // the directory for those that are behind; none: they stay
  };

  std::vector<Place> places_;
  UniqueFd usage_, idle_usage_;
  unsigned processors_ = 0;
  std::vector<std::string> leaving_;  // groups that are to be removed
  bool each_ = false;                 // a server has a group of its own
};

// The memory of the group of a server that may have `bytes`. PID 1 ends who passes those as soon as it sees that; this
// is for who is faster, and has room for cached files and for what is ours.
std::uint64_t group_memory(std::uint64_t bytes);
// What a setting's file gets; empty: nothing is written. `processors`: those of the whole sandbox, in thousandths (0:
// not known), of which none below it can have more.
std::string group_value(wire::GroupSetting::Value value, const wire::ServerLimits& limits, unsigned processors = 0);

}  // namespace mcpbox::box::init
