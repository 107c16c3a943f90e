#include "box/init/process_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "box/init/one_id.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxProcesses = EarlyEnds::kMost;
constexpr unsigned kLooks = 10;
constexpr auto kBetweenLooks = std::chrono::milliseconds(10);
constexpr auto kReadyPause = std::chrono::milliseconds(300);

std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

// What a process that has ended left behind in its namespaces ends with them.
void end_namespaces(const Process& process) {
  if (process.reaper) ::syscall(SYS_pidfd_send_signal, process.reaper.get(), SIGKILL, nullptr, 0);
}

// 0: it has ended.
pid_t pid_of(int pidfd) {
  char name[48], text[512];
  ::snprintf(name, sizeof name, "/proc/self/fdinfo/%d", pidfd);
  UniqueFd file(::open(name, O_RDONLY | O_CLOEXEC));
  const ssize_t got = file ? ::read(file.get(), text, sizeof text - 1) : -1;
  text[std::max<ssize_t>(got, 0)] = '\0';
  const char* line = ::strstr(text, "Pid:\t");
  return line == nullptr ? 0 : std::max(0, ::atoi(line + 5));
}

// Of the sandbox, for who has it to himself.
std::vector<UniqueFd> shared_memory() {
  std::vector<UniqueFd> out;
  for (const char* path : {"/tmp", "/dev/shm"}) {
    struct statfs info{};
    UniqueFd fd(::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd && ::fstatfs(fd.get(), &info) == 0 && info.f_type == TMPFS_MAGIC) out.push_back(std::move(fd));
  }
  return out;
}

}  // namespace

void ProcessTable::start(const wire::Spawn& spec, std::vector<UniqueFd> stdio, StartDone done) {
  if (auto checked = check_spawn(spec, stdio.size()); !checked) return done(std::unexpected(checked.error()));
  if (processes_.contains(spec.id)) {
    return done(refuse(Code::kAlreadyExists, "start process '" + spec.id + "'", "the id is in use; forget it first"));
  }
  if (processes_.size() >= kMaxProcesses) {
    return done(
        refuse(Code::kResourceExhausted, "start process '" + spec.id + "'", "the sandbox has too many processes"));
  }
  memory_.sample();
  auto started = start_process(spec, stdio, roots_, way_, groups_.any() ? &next_ : nullptr);
  if (!started) return done(std::unexpected(started.error()));
  const int report = started->report.get();
  if (const int error = loop_.watch(report, EPOLLIN, [this, id = spec.id](unsigned) { read_report_of(id, false); })) {
    ::kill(started->pid, SIGKILL);  // reaped as an orphan
    if (!started->group.empty()) groups_.remove(started->group);
    return done(failed("watch the start of process '" + spec.id + "'", error));
  }
  auto process = std::make_unique<Process>();
  process->id = spec.id;
  process->pid = started->pid;
  process->uid = spec.uid;
  process->gid = spec.gid;
  process->limits = spec.server;
  process->oom_score = spec.oom_score_adj;
  process->nice = spec.nice;
  if (way_.spaces == Spaces::kNone && spec.alone) process->memory = shared_memory();
  process->pipes = std::move(started->pipes);
  process->group = std::move(started->group);
  by_pid_[process->pid] = spec.id;
  processes_.emplace(spec.id, std::move(process));
  starts_.emplace(spec.id, Start{std::move(started->report), {}, std::move(done)});
  if (spec.alone && !groups_.any()) {
    if (UniqueFd told = groups_.watch_whole()) {
      Process& whole = *processes_.at(spec.id);
      whole.group = kWholeGroup;
      whole.counted = groups_.memory_of(kWholeGroup);  // by servers that it has had before
      watch_group(spec.id, std::move(told));
    }
  }
}

void ProcessTable::read_report_of(const std::string& process_id, bool must_end) {
  const std::string id = process_id;  // the caller's may live in what is destroyed here
  const auto found = starts_.find(id);
  if (found == starts_.end()) return;
  Process& process = *processes_.at(id);
  StartReport packet;
  while (true) {
    const Received got = receive_report(found->second.report.get(), packet);
    if (got == Received::kNothing && !must_end) return;
    if (got != Received::kPacket) break;
    if (packet.kind == StartReport::Kind::kProcess) {
      take_process(id, std::move(packet));
    } else if (packet.kind == StartReport::Kind::kWayOut) {
      if (relay_ != nullptr) process.way_out = relay_->serve(std::move(packet.listener), shown_id(process.uid));
    } else if (packet.kind == StartReport::Kind::kWaysIn) {
      for (UniqueFd& each : packet.ways_in) process.ways_in.push_back(std::move(each));
    } else if (packet.kind == StartReport::Kind::kMemory) {
      process.memory.push_back(std::move(packet.memory));
    } else if (packet.kind == StartReport::Kind::kGroup) {
      watch_group(id, std::move(packet.told));
    } else if (packet.kind == StartReport::Kind::kNoGroup) {
      say_once_without_group(packet.error);
      // Where nobody is, nobody can be put behind: that is done by priority then.
      if (!process.group.empty() && !groups_.is_used(process.group)) leave_group(process);
    } else {
      found->second.error = std::move(packet.error);
    }
  }
  loop_.unwatch(found->second.report.get());
  Start start = std::move(found->second);
  starts_.erase(found);
  if (starts_.empty()) ended_early_.clear();
  process.starting = false;
  get_ready_soon();
  if (start.error) {
    end_namespaces(process);
    leave_group(process);
    by_pid_.erase(process.pid);
    processes_.erase(id);
    return start.done(std::unexpected(std::move(*start.error)));
  }
  // With one id PID 1 does not see the reaper in /proc: it runs no program of the server's namespace.
  const pid_t ours = process.reaper && !one_id() ? pid_of(process.reaper.get()) : 0;
  accountant_.watch(process.pid, process.uid, process.gid, process.limits, std::move(process.memory), ours,
                    process.nice);
  disks_.watch(process.uid, process.gid, process.limits);
  start.done(&process);
}

// To move into a group takes long on some kernels, and stops forks and execs meanwhile: who has just been started need
// not wait for the next one's. Whoever comes at once does.
void ProcessTable::get_ready_soon() {
  if (!starts_.empty()) return loop_.defer([this] { next_.prepare(); });
  if (ready_timer_ != 0) return;
  ready_timer_ = loop_.at(EventLoop::Clock::now() + kReadyPause, [this] {
    ready_timer_ = 0;
    next_.prepare();
  });
}

// The first child ends now; whoever was made by it goes on.
void ProcessTable::take_process(const std::string& id, StartReport packet) {
  Process& process = *processes_.at(id);
  by_pid_.erase(process.pid);
  process.pid = packet.pid;
  process.reaper = std::move(packet.reaper);
  // It may have ended and been reaped before we heard of it; then its number is nobody's, or another's.
  const bool there = ::syscall(SYS_pidfd_send_signal, packet.process.get(), 0, nullptr, 0) == 0;
  if (there) {
    by_pid_[process.pid] = id;
    if (process.killed_by_us) ::syscall(SYS_pidfd_send_signal, packet.process.get(), SIGKILL, nullptr, 0);
    return;
  }
  loop_.defer([this, id, ended = ended_early_.of(process.pid)] { end_of(id, ended.status, ended.usage); });
}

bool ProcessTable::reaped(pid_t pid, int status, const rusage& usage) {
  if (next_.reaped(pid)) return true;
  if (!by_pid_.contains(pid)) {
    // Perhaps one of which its report speaks, which is unread yet or not even written: it need not wait for its maker.
    if (!starts_.empty() && way_.spaces == Spaces::kAll) ended_early_.keep({pid, status, usage});
    std::vector<std::string> starting;
    for (const auto& [id, start] : starts_) starting.push_back(id);
    for (const std::string& id : starting) read_report_of(id, false);
  }
  const auto known = by_pid_.find(pid);
  if (known == by_pid_.end()) return false;
  const std::string id = known->second;
  // The first child ends when it has told us who goes on.
  read_report_of(id, false);
  const auto still = by_pid_.find(pid);
  if (still == by_pid_.end() || still->second != id) return true;
  by_pid_.erase(still);
  end_of(id, status, usage);
  return true;
}

void ProcessTable::end_of(const std::string& id, int status, const rusage& usage) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || !found->second->running) return;
  memory_.sample();
  Process& process = *found->second;
  wire::Exit exit;
  exit.peak_memory_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  // The kernel may have been faster than our looks, but who maps a large file did not take anybody's memory.
  const std::uint64_t largest =
      exit.peak_memory_bytes - std::min(exit.peak_memory_bytes, accountant_.mapped_by(process.uid));
  // Whom we kill ends for that, whatever the kernel has killed of it before.
  if (const auto passed = passed_in_group(process, largest); passed && !process.killed_by_us) process.passed = *passed;
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  exit.killed_for_memory = exit.signal == SIGKILL && !process.killed_by_us && memory_.killed_lately();
  if (exit.signal == SIGKILL) exit.limit = process.passed;
  exit.user_us = microseconds(usage.ru_utime);
  exit.system_us = microseconds(usage.ru_stime);
  // The kernel was faster than we.
  const std::uint64_t bound = process.limits.memory_bytes;
  const std::uint64_t use = std::max(largest, accountant_.memory_of(process.uid));
  const auto above = accountant_.above_part(process.uid);
  if (exit.killed_for_memory && above) exit.limit = *above;
  if (exit.killed_for_memory && bound != 0 && use > bound) exit.limit = {wire::LimitKind::kMemory, bound, use};
  process.running = false;
  process.exit = exit;
  // Its report is complete now: nobody else holds the other end. "It started" goes out before "it ended".
  if (process.starting) read_report_of(id, true);
  if (const auto still = processes_.find(id); still != processes_.end()) on_exit_(*still->second);
}

void ProcessTable::say_once_without_group(const wire::ErrorReply& why) {
  if (std::exchange(said_without_group_, true)) return;
  ::dprintf(2,
            "mcpbox-init: degraded: servers start without control groups of their own (%.300s, errno %d); their memory "
            "and processes are counted, processors are the whole sandbox's\n",
            why.step.c_str(), why.error_number);
}

void ProcessTable::watch_group(const std::string& id, UniqueFd told) {
  Process& process = *processes_.at(id);
  process.told = std::move(told);
  // What is not watched is still found out when the process ends.
  const int error = loop_.watch(process.told.get(), groups_.told_events(), [this, id](unsigned) {
    const auto found = processes_.find(id);
    if (found == processes_.end()) return;
    char buffer[4096];
    while (::read(found->second->told.get(), buffer, sizeof buffer) > 0) {
    }
    ::lseek(found->second->told.get(), 0, SEEK_SET);
    found->second->looks = kLooks;
    if (found->second->next_look == 0) look_at_group(id);
  });
  if (error != 0) process.told.reset();
}

// The kernel tells before it kills.
void ProcessTable::look_at_group(const std::string& id) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return;
  Process& process = *found->second;
  process.next_look = 0;
  if (!process.running || process.killed_by_us || process.looks == 0) return;
  --process.looks;
  if (const auto passed = passed_in_group(process, 0)) return passed_(process.uid, *passed);
  process.next_look = loop_.at(EventLoop::Clock::now() + kBetweenLooks, [this, id] { look_at_group(id); });
}

// `used` is what one of its processes is known to have used.
std::optional<wire::PassedLimit> ProcessTable::passed_in_group(Process& process, std::uint64_t used) const {
  const std::uint64_t limit = process.limits.memory_bytes;
  if (process.group.empty() || limit == 0) return std::nullopt;
  const bool whole = process.group == kWholeGroup;
  const GroupMemory memory = groups_.memory_of(process.group);
  process.held = std::max(process.held, memory.held);
  used = std::max({used, process.held, accountant_.memory_of(process.uid)});
  if (!killed_for_own_limit(process.counted, memory, used, limit, whole)) return std::nullopt;
  return wire::PassedLimit{wire::LimitKind::kMemory, limit, std::max({limit, used, whole ? 0 : memory.peak})};
}

void ProcessTable::leave_group(Process& process) {
  if (process.told) loop_.unwatch(process.told.get());
  process.told.reset();
  if (process.next_look != 0) loop_.cancel(process.next_look);
  process.next_look = 0;
  if (!process.group.empty() && process.group != kWholeGroup) groups_.remove(process.group);
  process.group.clear();
}

Op<Process*> ProcessTable::find(const std::string& id) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || found->second->starting) {
    return refuse(Code::kNotFound, "find process '" + id + "'", "there is none of that id in the sandbox");
  }
  return found->second.get();
}

Op<void> ProcessTable::forget(const std::string& id) {
  auto process = find(id);
  if (!process) return std::unexpected(process.error());
  if ((*process)->running) {
    return refuse(Code::kFailedPrecondition, "forget process '" + id + "'", "it still runs; stop it first");
  }
  accountant_.unwatch((*process)->uid);
  disks_.unwatch((*process)->uid);
  end_namespaces(**process);
  leave_group(**process);
  processes_.erase(id);
  return {};
}

void ProcessTable::mark_killed(uid_t uid) {
  for (auto& [id, process] : processes_) {
    if (process->uid != uid || !process->running) continue;
    process->killed_by_us = true;
    if (process->starting) ::kill(process->pid, SIGKILL);  // not reaped yet, so the pid is still its own
  }
}

void ProcessTable::note_passed(uid_t uid, const wire::PassedLimit& limit) {
  for (auto& [id, process] : processes_) {
    if (process->uid == uid && process->running) process->passed = limit;
  }
}

std::optional<std::uint64_t> ProcessTable::held_by(uid_t uid) const {
  std::optional<std::uint64_t> held;
  for (const auto& [id, process] : processes_) {
    if (process->uid != uid || process->group.empty() || process->group == kWholeGroup) continue;
    const auto use = group_use(groups_.memory_directory(), process->group);
    if (use) held = held.value_or(0) + use->used;
  }
  return held;
}

std::vector<std::string> ProcessTable::place(uid_t uid, bool behind) const {
  std::vector<std::string> placed;
  for (const auto& [id, process] : processes_) {
    if (!process->running || process->uid != uid || process->group.empty() || process->group == kWholeGroup) continue;
    if (groups_.place(process->group, behind)) placed.push_back(process->group);
  }
  return placed;
}

int ProcessTable::oom_score(uid_t uid) const {
  for (const auto& [id, process] : processes_) {
    if (process->uid == uid) return process->oom_score;
  }
  return 0;
}

unsigned ProcessTable::starting(uid_t uid) const {
  unsigned count = 0;
  for (const auto& [id, process] : processes_) count += process->uid == uid && process->starting ? 1 : 0;
  return count;
}

std::vector<wire::Listed> ProcessTable::list() const {
  std::vector<wire::Listed> out;
  for (const auto& [id, process] : processes_) {
    if (process->starting) continue;
    out.push_back({id, process->pid, process->uid, process->running, process->exit});
  }
  return out;
}

}  // namespace mcpbox::box::init
