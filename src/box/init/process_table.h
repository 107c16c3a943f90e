// The managed processes: who runs, on which pipes, and how those that ended did.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "box/init/accountant.h"
#include "box/init/disk_watch.h"
#include "box/init/early_ends.h"
#include "box/init/egress_relay.h"
#include "box/init/event_loop.h"
#include "box/init/memory_events.h"
#include "box/init/spawn.h"
#include "box/init/start_report.h"

namespace mcpbox::box::init {

struct Process {
  std::string id;
  pid_t pid = -1;
  uid_t uid = 0;
  gid_t gid = 0;
  Pipes pipes;                    // duplicates for a controller that comes later; never read
  UniqueFd reaper;                // pidfd of process 1 of its PID namespace, where it has one of its own (spaces.h)
  WayOut way_out;                 // its listener at the egress relay
  std::vector<UniqueFd> ways_in;  // until its controller has them
  wire::ServerLimits limits;
  std::vector<UniqueFd> memory;  // its own memory file systems, until the accountant has them
  std::string group;             // its control group's name; empty: it has none
  UniqueFd told;                 // that the group is short of memory
  GroupMemory counted;           // in the group before it was this server's
  int oom_score = 0, nice = 0;   // as asked for
  std::uint64_t held = 0;        // the most that the group was seen to hold
  unsigned looks = 0;            // at the group, which are still to come
  EventLoop::Timer next_look = 0;
  wire::PassedLimit passed;  // why we killed it
  bool starting = true;      // exec has not been confirmed yet
  bool running = true;
  bool killed_by_us = false;
  std::optional<wire::Exit> exit;
};

class ProcessTable {
 public:
  using StartDone = std::function<void(Op<Process*>)>;
  using ExitDone = std::function<void(const Process&)>;
  using Passed = std::function<void(uid_t, const wire::PassedLimit&)>;
  // `roots`: where the children prepare what a start asks for. `relay` outlives this; null where there is no way out.
  // `accountant` and `disks` outlive this, too. `passed`: whose processes have used up their control group's memory;
  // they are to be killed.
  ProcessTable(EventLoop& loop, const Roots& roots, ServerGroups& groups, StartWay way, EgressRelay* relay,
               Accountant& accountant, DiskWatch& disks, ExitDone on_exit, Passed passed)
      : loop_(loop),
        roots_(roots),
        groups_(groups),
        way_(way),
        relay_(relay),
        accountant_(accountant),
        disks_(disks),
        on_exit_(std::move(on_exit)),
        passed_(std::move(passed)),
        next_(roots, groups, way) {}
  // So that the first start does not wait for its control group.
  void get_ready() { next_.prepare(); }

  // `done` is called once, from the loop: when the program runs, or with the step that failed.
  void start(const wire::Spawn& spec, std::vector<UniqueFd> stdio, StartDone done);
  // Call for every reaped pid that is nobody else's; true when it was a managed process, or on the way to one.
  bool reaped(pid_t pid, int status, const rusage& usage);

  Op<Process*> find(const std::string& id);
  Op<void> forget(const std::string& id);
  // Before everything of the uid is killed: says that it was us, and kills what has not taken its uid yet.
  void mark_killed(uid_t uid);
  // What runs of the uid is killed for this.
  void note_passed(uid_t uid, const wire::PassedLimit& limit);
  // What the uid's own control group holds; nothing where it has none.
  std::optional<std::uint64_t> held_by(uid_t uid) const;
  // Puts the uid's own control groups behind the others, or back (server_groups.h): which that were; none where it has
  // none.
  std::vector<std::string> place(uid_t uid, bool behind) const;
  // How soon the kernel takes the uid's processes when memory is short (oom_score_adj), unless told otherwise.
  int oom_score(uid_t uid) const;
  // How many of the uid's processes are on their way to exec.
  unsigned starting(uid_t uid) const;
  std::vector<wire::Listed> list() const;
  const std::map<std::string, std::unique_ptr<Process>>& all() const { return processes_; }

 private:
  struct Start {
    UniqueFd report;
    std::optional<wire::ErrorReply> error;
    StartDone done;
  };
  void read_report_of(const std::string& id, bool must_end);
  void get_ready_soon();
  void take_process(const std::string& id, StartReport packet);
  void end_of(const std::string& id, int status, const rusage& usage);
  void say_once_without_group(const wire::ErrorReply& why);
  void watch_group(const std::string& id, UniqueFd told);
  void look_at_group(const std::string& id);
  std::optional<wire::PassedLimit> passed_in_group(Process& process, std::uint64_t used) const;
  void leave_group(Process& process);

  EventLoop& loop_;
  const Roots& roots_;
  ServerGroups& groups_;
  StartWay way_;
  EgressRelay* relay_;
  Accountant& accountant_;
  DiskWatch& disks_;
  ExitDone on_exit_;
  Passed passed_;
  Understudy next_;
  MemoryEvents memory_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
  std::map<pid_t, std::string> by_pid_;
  std::map<std::string, Start> starts_;
  EarlyEnds ended_early_;  // while somebody starts
  bool said_without_group_ = false;
  EventLoop::Timer ready_timer_ = 0;
};

}  // namespace mcpbox::box::init
