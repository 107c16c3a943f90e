// The processors of a sandbox, round after round: who uses how much of them, who presses, and who is to stand behind
// the others. No I/O and no clock.
//
// Where the kernel says what the whole sandbox uses, its processes are looked at one by one only in rounds in which
// that is much (kMuch): a sandbox whose servers are quiet costs next to nothing. What ended between two looks is
// counted as far as a parent has waited for it, and what of the whole nobody was seen to use is taken for that of the
// servers that have new processes, by the number of those: it is crowds of short ones that are not seen. The kernel
// numbers the processes and threads of a PID namespace one after the other, so the number of a new one in its server's
// own tells how many there were meanwhile, seen or not. Where servers share a namespace it tells nothing, and only who
// has nearly all the new processes that were seen is taken for it.
//
// While the servers use nearly all that the sandbox may, what is everybody's (pressure_gauge.h) is not half a processor
// but half an equal part of who uses any, so that many hogs are not hidden by their number. Those that stand behind
// already take nothing from the others, and do not make their parts smaller.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "box/init/pressure_gauge.h"
#include "box/init/proc_activity.h"

namespace mcpbox::box::init {

class ProcessorWatch {
 public:
  using TimePoint = PressureGauge::TimePoint;
  using Time = std::chrono::microseconds;
  // What is kept of a process between two looks at it.
  struct Sample {
    Time used{0}, waited{0};
    std::optional<TimePoint> when;  // of the round; nothing: there was no look
  };

  // `whole`: thousandths of processors that the sandbox may use; 0: not known.
  explicit ProcessorWatch(unsigned whole) : whole_(whole) {}

  // A server starts, and is over; whoever starts with the uid within kKept is taken for the same one.
  void add(uid_t uid, TimePoint now);
  void remove(uid_t uid, TimePoint now);

  // It passed a limit: when it comes again soon, it begins behind the others.
  void hold_against(uid_t uid, TimePoint now);

  // `group`: what the sandbox used ever, where that is known.
  void begin(std::optional<Time> group, TimePoint now);
  // Whether each process is to be looked at in this round; else none is, or, where nothing is known of the whole, each
  // once in a while.
  bool close() const { return close_; }
  bool measured() const { return group_.has_value(); }
  // In any round: a process of the server is new. `number`: its own in the PID namespace that its server has for
  // itself; 0: it has none.
  void born(uid_t uid, std::uint64_t number);
  // `uid`: 0 for who belongs to no server. `born`: it was not there in the round before.
  void see(uid_t uid, Sample& sample, bool born, const Activity& activity);
  // It was not found any more.
  void lost(uid_t uid, const Sample& sample);
  // `own`: what PID 1 used ever. Who is to be put somewhere now: again in every round in which he may use any, as
  // long as he is behind: who was just being made is told by the next one.
  struct Place {
    uid_t uid = 0;
    bool behind = false;
    bool apart = false;  // behind all others of the machine (server_groups.h), as long as it uses much
  };
  std::vector<Place> finish(Time own, TimePoint now);

  bool presses(uid_t uid) const;
  bool yields(uid_t uid) const;
  bool is_apart(uid_t uid) const;
  unsigned processors(uid_t uid) const;

  static constexpr unsigned kMuch = 400;  // thousandths of a processor, or half of what the sandbox may use
  static constexpr std::chrono::milliseconds kLately{300};
  static constexpr std::chrono::milliseconds kKnown{300};  // what a look saw is worth something for the next
  static constexpr std::chrono::seconds kPause{1}, kLongestPause{64}, kLongApart{10};
  static constexpr std::chrono::seconds kKept{60};  // longer than PressureGauge::kSoon would be of no use

 private:
  struct Server {
    PressureGauge gauge;
    Time seen{0}, waited{0}, lost{0};  // in this round
    double born = 0;                   // lately
    bool numbered = false;
    std::uint64_t last_number = 0, number_before = 0;  // of one that was born, and in the rounds before; 0: none was
    TimePoint born_at;                                 // the round of the last
    Time used{0};
    Time used_lately{0};  // since `lately`
    TimePoint lately;
    bool much = false;  // half a processor, in the span before
    bool apart = false;
    std::optional<TimePoint> passed;  // when it passed a limit
    TimePoint apart_since, not_apart_until;
    TimePoint::duration pause{};
  };
  void add_up(Time own);
  void share_unseen(Time unseen);
  // Who is far ahead is apart while it uses half a processor, and who passed a limit is when it comes again soon; who
  // uses less for kLately is not, for kPause, twice that and so on: on a machine that is busy it would get nothing
  // there, and has its part of the sandbox's.
  bool place_apart(Server& server, TimePoint now) const;

  unsigned whole_;
  std::map<uid_t, Server> servers_;
  struct Over {
    PressureGauge gauge;
    TimePoint when;
    std::optional<TimePoint> passed;
  };
  std::map<uid_t, Over> over_;
  std::optional<Time> group_, own_;
  TimePoint now_;             // of this round; that of an epoch: there was none
  Time passed_{0}, used_{0};  // since the round before, and what the whole sandbox used in it
  bool close_ = false;
  std::optional<TimePoint> close_at_;  // the last round before this one in which each process was looked at
  Time others_{0};                     // of who belongs to no server, in this round
  Time unseen_{0};                     // that nobody was seen to use; what is beyond kDoubt is shared out
};

}  // namespace mcpbox::box::init
