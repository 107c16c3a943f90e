#include "box/init/processor_watch.h"

#include <algorithm>
#include <utility>

namespace mcpbox::box::init {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// So much counts of what one used before we looked: it may be old, and we may have lost sight of it.
constexpr ProcessorWatch::Time kMostOfNew = std::chrono::seconds(1);
// The kernel tells what a process used in steps of 10 ms.
constexpr ProcessorWatch::Time kDoubt = milliseconds(50);
constexpr unsigned kNearlyAll = 850;         // thousandths of the whole
constexpr int kAny = 20;                     // who used more than this part of the time of a processor, used any
constexpr double kForgotten = 0.2;           // of who was born, with each round
constexpr double kLatelyBorn = 0.5;          // one, three rounds ago
constexpr std::uint64_t kMostBorn = 10'000;  // between two looks

}  // namespace

void ProcessorWatch::add(uid_t uid, TimePoint now) {
  std::erase_if(over_, [now](const auto& each) { return now - each.second.when >= kKept; });
  Server& server = servers_[uid];
  const auto over = over_.find(uid);
  server.gauge = (over == over_.end() ? server.gauge : over->second.gauge).started_again(now);
  server.last_number = 0;  // it has another namespace
  if (over != over_.end()) {
    server.passed = over->second.passed;
    over_.erase(over);
  }
  if (!server.passed || now - *server.passed >= kKept) return;
  server.apart = server.much = true;
  server.apart_since = server.lately = now;
  server.used_lately = Time(0);
}

void ProcessorWatch::remove(uid_t uid, TimePoint now) {
  const auto found = servers_.find(uid);
  if (found == servers_.end()) return;
  over_.insert_or_assign(uid, Over{found->second.gauge, now, found->second.passed});
  servers_.erase(found);
}

void ProcessorWatch::hold_against(uid_t uid, TimePoint now) {
  const auto found = servers_.find(uid);
  if (found == servers_.end()) return;
  found->second.gauge.hold_against(now);
  found->second.passed = now;
}

void ProcessorWatch::begin(std::optional<Time> group, TimePoint now) {
  if (close_) close_at_ = now_;
  const auto before = std::exchange(group_, group);
  passed_ = now_ == TimePoint() ? Time(0) : duration_cast<Time>(now - now_);
  now_ = now;
  used_ = group && before ? *group - *before : Time(0);
  close_ = used_.count() > 0 && used_ >= passed_ * std::min(kMuch, whole_ / 2) / 1000;
  others_ = Time(0);
  for (auto& [uid, server] : servers_) {
    server.seen = server.waited = server.lost = Time(0);
    server.born *= 1 - kForgotten;
  }
}

void ProcessorWatch::born(uid_t uid, std::uint64_t number) {
  const auto found = servers_.find(uid);
  if (found == servers_.end()) return;
  Server& server = found->second;
  const TimePoint last = std::exchange(server.born_at, now_);
  if (last != now_) server.number_before = server.last_number;
  server.numbered = number != 0;
  // Of several that were born meanwhile any may be seen first; the last one stands for all.
  if (number != 0 && number <= server.last_number && number > server.number_before) return;
  const std::uint64_t before = std::exchange(server.last_number, number);
  // Threads have numbers too: what there was in a longer time is nobody's crowd. Numbers that fall have begun anew.
  const bool counts = before != 0 && number > before && now_ - last <= kKnown;
  server.born += counts ? static_cast<double>(std::min(number - before, kMostBorn)) : 1;
}

void ProcessorWatch::see(uid_t uid, Sample& sample, bool born, const Activity& activity) {
  const Sample before = std::exchange(sample, Sample{activity.used, activity.waited, now_});
  Time used{0}, waited{0};
  if (before.when) {
    // What it used before this began to matter is spread over an unknown time.
    if (measured() && now_ - *before.when > kKnown) return;
    used = std::max(Time(0), activity.used - before.used);
    if (measured()) waited = std::max(Time(0), activity.waited - before.waited);
    if (before.used.count() == 0) used = std::min(used, kMostOfNew);
  } else if (born && measured()) {
    used = std::min(activity.used, kMostOfNew);
  }
  const auto server = servers_.find(uid);
  if (server == servers_.end()) return (void)(others_ += used);
  server->second.seen += used;
  server->second.waited += waited;
}

void ProcessorWatch::lost(uid_t uid, const Sample& sample) {
  const auto server = servers_.find(uid);
  // Whoever waited for it has that now, and what it had waited for; it was counted already.
  if (server != servers_.end()) server->second.lost += sample.used + sample.waited;
}

void ProcessorWatch::share_unseen(Time unseen) {
  unseen_ = std::max(unseen_ + unseen, -kDoubt);
  if (unseen_ <= kDoubt) return;
  const Time more = unseen_ - kDoubt;
  unseen_ = kDoubt;
  double born = 0;
  bool numbered = true;
  for (const auto& [uid, server] : servers_) {
    born += server.born;
    numbered = numbered && (server.numbered || server.born < kLatelyBorn);
  }
  if (born < kLatelyBorn) return;  // it was no crowd
  for (auto& [uid, server] : servers_) {
    if (numbered) server.used += duration_cast<Time>(more * (server.born / born));
    // Who starts one now and then is not to answer for a crowd of another's that hardly shows.
    if (!numbered && server.born * 4 > born * 3) server.used += more;
  }
}

void ProcessorWatch::add_up(Time own) {
  const Time ours = own - std::exchange(own_, own).value_or(own);
  Time seen{0};
  for (auto& [uid, server] : servers_)
    seen += server.used = server.seen + std::max(Time(0), server.waited - server.lost);
  // In the first close round nobody was looked at before.
  if (close_ && close_at_ && now_ - *close_at_ <= kKnown) share_unseen(used_ - ours - others_ - seen);
  // What somebody waited for may be of long ago.
  for (auto& [uid, server] : servers_) {
    if (close_) server.used = std::min(server.used, used_);
  }
}

bool ProcessorWatch::place_apart(Server& server, TimePoint now) const {
  server.used_lately += server.used;
  if (const auto lately = now - server.lately; lately >= kLately) {
    server.much =
        server.used_lately * 1000 >= std::min<TimePoint::duration>(lately, 2 * kLately) * PressureGauge::kHalf;
    server.used_lately = Time(0);
    server.lately = now;
  }
  if (!server.gauge.yields()) return server.apart = false;
  if (!server.apart) {
    // Who is not far ahead yet uses its part of the sandbox's, so that it can be named.
    if (!server.much || !server.gauge.far_ahead() || now < server.not_apart_until) return false;
    server.apart_since = now;
    return server.apart = true;
  }
  if (server.much) return true;
  // Nobody sees whether it rests, or others of the machine leave it nothing.
  const bool long_apart = now - server.apart_since >= kLongApart;
  server.pause = long_apart ? kPause : std::clamp<TimePoint::duration>(2 * server.pause, kPause, kLongestPause);
  server.not_apart_until = now + server.pause;
  return server.apart = false;
}

std::vector<ProcessorWatch::Place> ProcessorWatch::finish(Time own, TimePoint now) {
  add_up(own);
  Time behind{0};
  int any = 0, any_in_front = 0;
  for (const auto& [uid, server] : servers_) {
    const bool uses = server.used * kAny >= passed_ && server.used.count() > 0;
    any += uses ? 1 : 0;
    any_in_front += uses && !server.gauge.yields() ? 1 : 0;
    if (server.gauge.yields()) behind += server.used;
  }
  const auto level = [&](Time used, int sharing) {
    const bool full = close_ && sharing > 0 && used >= passed_ * whole_ / 1000 * kNearlyAll / 1000;
    return full ? std::min(PressureGauge::kHalf, whole_ / (2 * static_cast<unsigned>(sharing))) : PressureGauge::kHalf;
  };
  const unsigned level_of_all = level(used_, any), level_in_front = level(used_ - behind, any_in_front);
  std::vector<Place> places;
  for (auto& [uid, server] : servers_) {
    const bool yielded = server.gauge.yields();
    server.gauge.look(server.used, now, yielded ? level_of_all : level_in_front);
    const bool yields = server.gauge.yields();
    const bool was_apart = server.apart, apart = place_apart(server, now);
    if (yields != yielded || apart != was_apart || (yields && (close_ || !measured())))
      places.push_back({uid, yields, apart});
  }
  return places;
}

bool ProcessorWatch::presses(uid_t uid) const {
  const auto found = servers_.find(uid);
  return found != servers_.end() && found->second.gauge.presses();
}

bool ProcessorWatch::yields(uid_t uid) const {
  const auto found = servers_.find(uid);
  return found != servers_.end() && found->second.gauge.yields();
}

bool ProcessorWatch::is_apart(uid_t uid) const {
  const auto found = servers_.find(uid);
  return found != servers_.end() && found->second.apart;
}

unsigned ProcessorWatch::processors(uid_t uid) const {
  const auto found = servers_.find(uid);
  return found == servers_.end() ? 0 : found->second.gauge.processors();
}

}  // namespace mcpbox::box::init
