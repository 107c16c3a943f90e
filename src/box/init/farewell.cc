#include "box/init/farewell.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "box/init/proc_activity.h"

namespace mcpbox::box::init {
namespace {

constexpr std::chrono::milliseconds kFarewellPause{50};

}  // namespace

Farewell::Farewell(EventLoop& loop, Links links)
    : loop_(loop), links_(std::move(links)), proc_(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

void Farewell::begin(const std::string& id, pid_t pid, uid_t uid, bool busy) {
  const auto found = told_.find(id);
  if (found != told_.end() && found->second.pid == pid) return;
  if (!busy && !ignores_sigterm(proc_.get(), pid)) return;
  told_.insert_or_assign(id, Told{pid, uid, EventLoop::Clock::now(), {}, {}, false, {}});
  if (timer_ == 0) look();
}

bool Farewell::count(Told& told, EventLoop::Clock::time_point now) const {
  using namespace std::chrono;
  const auto passed = duration_cast<microseconds>(now - told.since);
  bool runs = false;
  for (const pid_t pid : links_.processes(told.uid)) {
    Activity activity;
    if (!read_activity(proc_.get(), pid, activity)) continue;
    runs = runs || activity.runs;
    const auto [seen, fresh] = told.seen.try_emplace(pid, activity.used);
    if (!fresh) told.used += std::max(microseconds(0), activity.used - std::exchange(seen->second, activity.used));
    // It may be older than that, and only be known since.
    if (fresh && told.began) told.used += std::min(activity.used, passed);
    // Of a crowd, too, that is enough: it is in our way.
    if (runs && told.began) break;
  }
  told.began = true;
  return runs;
}

void Farewell::look() {
  timer_ = 0;
  const auto now = EventLoop::Clock::now();
  std::erase_if(told_, [&](const auto& each) {
    return now - each.second.since >= kLongest || !links_.runs(each.first, each.second.pid);
  });
  struct Next {
    std::string id;
    uid_t uid;
    Patience::Step step;
  };
  std::vector<Next> next;
  for (auto& [id, told] : told_) {
    const bool runs = count(told, now);
    const Patience::Step step = told.patience.look(told.used, runs, now);
    if (step != Patience::Step::kWait) next.push_back({id, told.uid, step});
  }
  if (!told_.empty()) timer_ = loop_.at(now + kFarewellPause, [this] { look(); });
  for (const Next& one : next) links_.act(one.id, one.uid, one.step);
}

}  // namespace mcpbox::box::init
