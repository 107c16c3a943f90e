#include "box/init/accountant.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "box/init/one_id.h"
#include "box/init/priority.h"
#include "box/init/proc_activity.h"
#include "box/init/proc_memory.h"

namespace mcpbox::box::init {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// What changes slowly, or only by what the other figures show too, is read this rarely of each process.
constexpr std::uint64_t kStatusRounds = 10;
constexpr std::uint64_t kSharedStep = 1 << 20;
// Where the kernel could be faster, so many hundredths of a processor are for us.
constexpr int kHaste = 10;
// Between two looks while the processors are in use, if that takes no more than a twentieth of one.
constexpr milliseconds kBusyPause{25};
constexpr int kBusyShare = 20;
constexpr int kTellBack = 3;  // rounds
constexpr milliseconds kDying{300};

// Of getdents64(2).
struct DirectoryRecord {
  std::uint64_t inode;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[1];
};

std::uint64_t used_of(const std::vector<UniqueFd>& file_systems) {
  std::uint64_t used = 0;
  for (const UniqueFd& fd : file_systems) {
    struct statfs info{};
    if (::fstatfs(fd.get(), &info) == 0)
      used += static_cast<std::uint64_t>(info.f_blocks - info.f_bfree) * static_cast<std::uint64_t>(info.f_bsize);
  }
  return used;
}

// What we were kept from meanwhile costs nobody anything.
microseconds processor_time() {
  struct timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::duration_cast<microseconds>(std::chrono::seconds(used.tv_sec) +
                                                  std::chrono::nanoseconds(used.tv_nsec));
}

}  // namespace

Accountant::Accountant(EventLoop& loop, Links links)
    : loop_(loop),
      links_(std::move(links)),
      proc_(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      sandbox_(links_.group, links_.held),
      group_(links_.usage, links_.processors),
      processors_(group_.whole()) {
  // The others are for PID 1's own work.
  struct rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) most_open_ = static_cast<std::size_t>(files.rlim_cur / 2);
}

void Accountant::watch(pid_t pid, uid_t uid, gid_t gid, const wire::ServerLimits& limits, std::vector<UniqueFd> memory,
                       pid_t ours, int nice) {
  known_.erase(pid);  // it was somebody else's when it was seen last
  const auto [found, fresh] =
      watched_.try_emplace(uid, Watched{MemoryGauge(limits), gid, {}, {}, {}, 1, 0, {}, 0, 0, 0, {}, {}});
  found->second.serial = ++serial_;
  found->second.limits = limits;
  // Of a start that is over nobody can remove anything any more; it goes when that is forgotten.
  found->second.memory.clear();
  found->second.ours.clear();
  found->second.mapped = 0;
  found->second.nice = nice;
  if (ours != 0) found->second.ours.push_back(ours);
  sandbox_.forget(uid);
  if (!fresh) {
    ++found->second.watches;
    found->second.gauge = MemoryGauge(limits);
    found->second.said_pressing.reset();
  }
  for (UniqueFd& fd : memory) found->second.memory.push_back(std::move(fd));
  processors_.add(uid, EventLoop::Clock::now());
  found->second.place = {};
  if (processors_.yields(uid)) put(uid, true, processors_.is_apart(uid), pid);
  if (timer_ == 0 && !in_round_ && proc_)
    timer_ = loop_.at(EventLoop::Clock::now() + milliseconds(20), [this] { look(); });
}

void Accountant::unwatch(uid_t uid) {
  const auto found = watched_.find(uid);
  if (found == watched_.end() || --found->second.watches != 0) return;
  watched_.erase(found);
  sandbox_.forget(uid);
  processors_.remove(uid, EventLoop::Clock::now());
}

void Accountant::stand_aside(uid_t uid) {
  const auto found = watched_.find(uid);
  if (found == watched_.end()) return;
  // Not for long: who gets nothing at all never ends.
  found->second.place.dies_until = EventLoop::Clock::now() + kDying;
  put(uid, true, processors_.is_apart(uid));
}

std::uint64_t Accountant::memory_of(uid_t uid) const {
  const auto found = watched_.find(uid);
  return found == watched_.end() ? 0 : found->second.gauge.last();
}

std::uint64_t Accountant::mapped_by(uid_t uid) const {
  const auto found = watched_.find(uid);
  return found == watched_.end() ? 0 : found->second.mapped;
}

std::vector<pid_t> Accountant::processes_of(uid_t uid) const {
  std::vector<pid_t> pids;
  for (const auto& [pid, known] : known_) {
    if (known.uid == uid) pids.push_back(pid);
  }
  return pids;
}

void Accountant::look() {
  timer_ = 0;
  if (watched_.empty()) {
    known_.clear();
    in_round_ = false;
    return;
  }
  const auto began = processor_time();
  if (!in_round_) {
    in_round_ = true;
    cost_ = microseconds(0);
    ++round_;
    ::lseek(proc_.get(), 0, SEEK_SET);
    processors_.begin(group_.used(), EventLoop::Clock::now());
    for (auto& [uid, server] : watched_) server.sum = {}, server.shared = 0;
  }
  alignas(DirectoryRecord) char buffer[32 << 10];
  const long got = ::syscall(SYS_getdents64, proc_.get(), buffer, sizeof buffer);
  for (long at = 0; at < got;) {
    const auto* entry = reinterpret_cast<const DirectoryRecord*>(buffer + at);
    at += entry->length;
    const pid_t pid = entry->name[0] > '0' && entry->name[0] <= '9' ? ::atoi(entry->name) : 0;
    if (pid > 1) count(pid);
  }
  cost_ += processor_time() - began;
  if (got > 0) return loop_.defer([this] { look(); });
  const auto seen = processor_time();
  finish_round();
  cost_ += processor_time() - seen;
  bool near = sandbox_.near();
  for (const auto& [uid, server] : watched_) near = near || server.gauge.near();
  milliseconds pause = pause_after(sandbox_.matters() ? cost_ / kHaste : cost_, near);
  if (processors_.close())
    pause = std::min(pause, std::max(kBusyPause, std::chrono::duration_cast<milliseconds>(cost_ * kBusyShare)));
  timer_ = loop_.at(EventLoop::Clock::now() + pause, [this] { look(); });
}

bool Accountant::read_status_of(pid_t pid, Known& known) {
  ProcStatus status;
  if (!read_status(proc_.get(), pid, status)) return false;
  known.uid = one_id() ? user_there(pid) : status.uid;
  known.shared = status.shared;
  known.tables = status.tables;
  known.swapped = status.swapped;
  known.tasks = status.threads;
  known.number = status.number;
  return true;
}

void Accountant::count(pid_t pid) {
  const auto [found, fresh] = known_.try_emplace(pid);
  Known& known = found->second;
  known.round = round_;
  bool read = fresh || (round_ + static_cast<std::uint64_t>(pid)) % kStatusRounds == 0;
  if (read && !read_status_of(pid, known)) known.uid = 0;
  const auto server = watched_.find(known.uid);
  const bool of_server = known.uid != 0 && server != watched_.end();
  // One of ours grows by nothing that the server does. Whether it still is one is looked at as often as its status is.
  if (of_server && read) known.ours = std::ranges::find(server->second.ours, pid) != server->second.ours.end();
  if (fresh && of_server && !known.ours) processors_.born(known.uid, known.number);
  count_activity(pid, known, fresh, read, of_server && !known.ours);
  if (!of_server || known.ours) return;
  UniqueFd now;  // closed again
  if (!known.pages) (known_.size() < most_open_ ? known.pages : now) = open_pages(proc_.get(), pid);
  ProcPages pages;
  if (!read_pages(known.pages ? known.pages.get() : now.get(), pages)) {
    processors_.lost(known.uid, known.sample);
    known_.erase(found);  // its number may be another's by now
    return;
  }
  const std::uint64_t moved =
      pages.shared > known.shared_pages ? pages.shared - known.shared_pages : known.shared_pages - pages.shared;
  if (read || moved > kSharedStep) {
    if (!read && !read_status_of(pid, known)) return;
    known.shared_pages = pages.shared;
  }
  const std::uint64_t anon = pages.resident > pages.shared ? pages.resident - pages.shared : 0;
  known.anon = anon;
  ServerSum& sum = server->second.sum;
  sum.most += anon + known.shared + known.tables + known.swapped;
  sum.least = std::max(sum.least, anon + known.shared);
  sum.tasks += known.tasks;
  const std::uint64_t files = pages.shared > known.shared ? pages.shared - known.shared : 0;
  server->second.mapped = std::max(server->second.mapped, files);
  server->second.shared += known.shared;
}

void Accountant::count_activity(pid_t pid, Known& known, bool fresh, bool read, bool of_server) {
  // Where nothing is known of the whole: of a crowd that is new to us, the rest is enough to do.
  const bool once_in_a_while = !processors_.measured() && of_server && read && !fresh;
  Activity activity;
  if ((processors_.close() || once_in_a_while) && read_activity(proc_.get(), pid, activity))
    processors_.see(of_server ? known.uid : 0, known.sample, fresh, activity);
}

void Accountant::ask_closely(uid_t uid, For whom) {
  const Watched& server = watched_.at(uid);
  const auto time = whom == For::kSandbox ? sandbox_.look_time(uid) : server.gauge.look_time();
  LookRequest request{uid, server.gid, {}, {}, whom == For::kSandbox, time};
  std::vector<std::pair<std::uint64_t, pid_t>> sizes;
  for (const auto& [pid, known] : known_) {
    if (known.uid == uid) sizes.emplace_back(known.anon + known.shared, pid);
  }
  std::sort(sizes.rbegin(), sizes.rend());
  for (const auto& [size, pid] : sizes) {
    // One of ours hides nothing, and cannot be read by the server's user.
    const bool own = std::ranges::find(server.ours, pid) != server.ours.end();
    if (!own || whom == For::kServer) request.pids.push_back(pid);
  }
  for (const UniqueFd& fd : server.memory) {
    struct stat info{};
    if (::fstat(fd.get(), &info) == 0) request.counted.push_back(info.st_dev);
  }
  links_.close_look(std::move(request), [this, uid, whom, serial = server.serial](std::optional<LookedClosely> found) {
    const auto known = watched_.find(uid);
    // Another server may have the uid by now, or the same one started again.
    if (known == watched_.end() || known->second.serial != serial) return;
    if (found) found->bytes += used_of(known->second.memory);
    if (whom == For::kServer) return known->second.gauge.looked(found, EventLoop::Clock::now());
    sandbox_.looked(uid, found, EventLoop::Clock::now());
    // What it says is worth most now.
    if (timer_ == 0) return;
    loop_.cancel(timer_);
    timer_ = loop_.at(EventLoop::Clock::now(), [this] { look(); });
  });
}

void Accountant::tell_turn(uid_t uid, KernelTurn turn) {
  const auto server = watched_.find(uid);
  if (server == watched_.end()) return;
  links_.turn(uid, server->second.gid, processes_of(uid), turn);
}

void Accountant::look_at_sandbox(EventLoop::Clock::time_point now) {
  std::vector<SandboxWatch::Seen> seen;
  for (const auto& [uid, server] : watched_) {
    const wire::ServerLimits& limits = server.limits;
    seen.push_back({uid, limits.memory_bytes, limits.memory_of_all, limits.memory_named, server.sum, server.shared});
  }
  const SandboxWatch::Round round = sandbox_.round(seen, now);
  for (const auto& [uid, turn] : round.turns) tell_turn(uid, turn);
  for (const uid_t uid : round.closely) ask_closely(uid, For::kSandbox);
  if (round.end) links_.passed(round.end->first, round.end->second);  // which may unwatch
}

void Accountant::look_at_processors(EventLoop::Clock::time_point now) {
  for (const ProcessorWatch::Place& place : processors_.finish(processor_time(), now)) {
    if (place.behind && !watched_.at(place.uid).place.dies_until) put(place.uid, true, place.apart);
  }
  for (auto& [uid, server] : watched_) {
    const auto& dies_until = server.place.dies_until;
    // Who has lost his last neighbour, too, stands nowhere.
    const bool alone = watched_.size() == 1 && !dies_until;
    if (server.place.behind && (alone || (dies_until ? now >= *dies_until : !processors_.yields(uid))))
      put(uid, false, false);
  }
  put_others();
  for (auto& [uid, server] : watched_) {
    const bool said = server.said_pressing && now - *server.said_pressing < kSayAgain;
    if (watched_.size() == 1 || said || !processors_.presses(uid)) continue;
    server.said_pressing = now;
    links_.presses(uid, processors_.processors(uid), server.sum.tasks);
  }
}

void Accountant::put(uid_t uid, bool behind, bool apart, pid_t first) {
  Watched& server = watched_.at(uid);
  Watched::Place& place = server.place;
  // Who has no neighbours stands nowhere.
  if (behind ? watched_.size() == 1 : !place.behind) return;
  if (links_.place(uid, behind, apart)) {
    place.behind = behind;
    return;
  }
  place.by_priority = true;
  place.before = 0;
  std::vector<Threads> processes;
  if (first != 0) processes.push_back({first, 1});
  for (const auto& [pid, known] : known_) {
    ProcStatus status;
    // A number may be another's by now, whom nobody would take back.
    const bool its = known.uid == uid && !known.ours && read_status(proc_.get(), pid, status) && status.uid == uid;
    if (its) processes.push_back({pid, status.threads});
  }
  if (behind) {
    place.behind = place_behind(uid, proc_.get(), processes) || place.behind;
    place.tell_back = kTellBack;
    return;
  }
  // One that was just being made is told once more.
  (void)place_back(uid, server.nice, proc_.get(), processes);
  place.behind = --place.tell_back > 0;
}

// Two hundred processes of one that is behind weigh as much as one that is not: while there is any, all others weigh
// more. Only where that matters within the sandbox alone.
void Accountant::put_others() {
  if (!processors_.measured()) return;
  bool any = false;
  for (const auto& [uid, server] : watched_) any = any || (server.place.behind && server.place.by_priority);
  for (auto& [uid, server] : watched_) {
    int& before = server.place.before;
    if (server.place.behind || (any && before == kTellBack) || (!any && before == 0)) continue;
    if (any) {
      if (place_before(uid)) before = kTellBack;
    } else {
      (void)place_back(uid, server.nice, proc_.get(), {});
      --before;
    }
  }
}

// Who forks and ends all the time is met more than once by a look that takes a while: those that are still there were
// all there at one moment. And what is known of threads is of an earlier round.
std::uint64_t Accountant::tasks_now(uid_t uid) {
  std::uint64_t tasks = 0;
  for (auto& [pid, known] : known_) {
    if (known.uid == uid && !known.ours && read_status_of(pid, known) && known.uid == uid) tasks += known.tasks;
  }
  return tasks;
}

void Accountant::finish_round() {
  in_round_ = false;
  std::erase_if(known_, [this](const auto& each) {
    if (each.second.round == round_) return false;
    processors_.lost(each.second.uid, each.second.sample);
    return true;
  });
  const auto now = EventLoop::Clock::now();
  std::vector<std::pair<uid_t, wire::PassedLimit>> passed;
  std::vector<uid_t> closely;
  for (auto& [uid, server] : watched_) {
    const std::uint64_t files = used_of(server.memory);
    server.shared += files;
    server.sum.most += files;
    server.sum.least = std::max(server.sum.least, files);  // perhaps it is they that are mapped
    if (server.limits.processes != 0 && server.sum.tasks >= server.limits.processes)
      server.sum.tasks = std::min(server.sum.tasks, tasks_now(uid));
    const MemoryGauge::Verdict verdict = server.gauge.look(server.sum, now);
    if (verdict.passed) passed.emplace_back(uid, *verdict.passed);
    if (verdict.look_closely) closely.push_back(uid);
  }
  look_at_processors(now);
  for (const uid_t uid : closely) ask_closely(uid, For::kServer);
  for (const auto& [uid, limit] : passed) sandbox_.ending(uid);
  look_at_sandbox(now);
  for (const auto& [uid, limit] : passed) links_.passed(uid, limit);  // which may unwatch
}

}  // namespace mcpbox::box::init
