#include "box/init/server_groups.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "box/init/descriptors.h"
#include "box/init/priority.h"
#include "box/init/process_room.h"
#include "box/init/sandbox_processors.h"

namespace mcpbox::box::init {
namespace {

// The first child of a start and the process that reaps for the server (spaces.h).
constexpr std::uint64_t kOurs = 2;
// Of processors: PID 1, with the way out of all servers, does not stand back for many of them that spin. In version 2
// it is in a group like theirs, in version 1 it is one task beside them; both have 100 and 1024 of themselves.
constexpr const char* kLeafWeight = "1000";
constexpr const char* kServerShares = "256";
constexpr const char* kServerWeight = "100";
constexpr std::uint64_t kLeastQuota = 1000;  // of the kernel
constexpr const char* kTrial = "trial";
constexpr int kRemovals = 250;
constexpr useconds_t kRemovalPause = 20'000;

UniqueFd open_in(int directory, const std::string& name, int flags) {
  return UniqueFd(::openat(directory, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
}

Op<void> write_in(int directory, const std::string& name, const std::string& text) {
  UniqueFd file = open_in(directory, name, O_WRONLY);
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return failed("write " + text + " to " + name + " of a control group");
  return {};
}

std::string read_in(int directory, const std::string& name) {
  UniqueFd file = open_in(directory, name, O_RDONLY);
  char buffer[4096];
  const ssize_t got = file ? ::read(file.get(), buffer, sizeof buffer) : -1;
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

// Of a file of lines "NAME NUMBER".
std::optional<std::uint64_t> number_in(const std::string& text, const std::string& name) {
  for (std::size_t at = 0; at < text.size();
       at = text.find('\n', at) == std::string::npos ? text.size() : text.find('\n', at) + 1) {
    if (text.compare(at, name.size(), name) == 0 && text[at + name.size()] == ' ')
      return ::strtoull(text.c_str() + at + name.size(), nullptr, 10);
  }
  return std::nullopt;
}

Op<UniqueFd> watch_memory(const wire::BuildCgroup& group, int directory) {
  UniqueFd kills = open_in(directory, group.kills, O_RDONLY);
  if (!kills) return failed("open " + group.kills + " of a control group");
  if (group.notify.empty()) {
    char buffer[1];
    (void)::pread(kills.get(), buffer, sizeof buffer, 0);  // what has happened until now is not told any more
    return kills;
  }
  UniqueFd told(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!told) return failed("make a descriptor for a control group");
  auto asked = write_in(directory, group.notify, std::to_string(told.get()) + " " + std::to_string(kills.get()));
  if (!asked) return std::unexpected(asked.error());
  return told;
}

// What its settings say.
unsigned processor_limit_of(const wire::BuildCgroup& group) {
  const auto value = [&](const std::string& name) {
    for (const std::string& setting : group.settings) {
      if (setting.starts_with(name + "=")) return setting.substr(name.size() + 1);
    }
    return std::string();
  };
  const std::string both = value("cpu.max");
  if (!both.empty()) return parse_processor_limit(both, both);
  return parse_processor_limit(value("cpu.cfs_quota_us"), value("cpu.cfs_period_us"));
}

// Whether the sandbox may use less than the machine has.
bool limits(unsigned processors) {
  return processors != 0 && processors < SandboxProcessors::present();
}

}  // namespace

std::uint64_t group_memory(std::uint64_t bytes) {
  return bytes + bytes / 16 + (4ull << 20);
}

bool killed_for_own_limit(const GroupMemory& then, const GroupMemory& now, std::uint64_t used, std::uint64_t limit,
                          bool whole) {
  if (now.kills <= then.kills) return false;
  if (now.own_limit) return *now.own_limit > then.own_limit.value_or(0);
  if (!whole && now.peak != 0 && now.peak < limit) return false;
  return used >= limit - limit / 8;
}

std::string group_value(wire::GroupSetting::Value value, const wire::ServerLimits& limits, unsigned processors) {
  using Value = wire::GroupSetting::Value;
  const std::uint64_t most = processors == 0 ? limits.processors : std::min(limits.processors, processors);
  const std::uint64_t quota = std::max(kLeastQuota, most * (wire::kGroupPeriod / 1000));
  switch (value) {
    case Value::kMemory:
      return limits.memory_bytes == 0 ? "" : std::to_string(group_memory(limits.memory_bytes));
    case Value::kProcesses:
      return limits.processes == 0 ? "" : std::to_string(with_room(limits.processes) + kOurs);
    case Value::kQuota:
      return limits.processors == 0 ? "" : std::to_string(quota);
    case Value::kQuotaOfAll:
      return limits.processors == 0 ? "" : std::to_string(quota) + " " + std::to_string(wire::kGroupPeriod);
    case Value::kZero:
      return limits.memory_bytes == 0 ? "" : "0";
    case Value::kOne:
      return limits.memory_bytes == 0 ? "" : "1";
  }
  return "";
}

Op<ServerGroups> ServerGroups::open(const std::vector<wire::BuildCgroup>& groups) {
  ServerGroups out;
  for (const wire::BuildCgroup& group : groups) {
    out.each_ = out.each_ || !group.servers.empty();
    const bool used = !group.usage.empty();
    out.processors_ = std::max(out.processors_, processor_limit_of(group));
    if (group.servers.empty() && group.kills.empty() && !used) continue;
    UniqueFd directory(::open(group.directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return failed("open the control group '" + group.directory + "'");
    if (used) out.usage_ = open_in(directory.get(), group.usage, O_RDONLY);
    if (group.servers.empty() && group.kills.empty()) continue;
    UniqueFd idle;
    if (!group.idle.empty() && !group.servers.empty()) {
      idle.reset(::open(group.idle.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!idle) return failed("open the control group '" + group.idle + "'");
      if (used) out.idle_usage_ = open_in(idle.get(), group.usage, O_RDONLY);
    }
    if (limits(out.processors_)) idle.reset();
    out.places_.push_back({group, std::move(directory), std::move(idle)});
  }
  return out;
}

Op<void> ServerGroups::take(UniqueFd directory, UniqueFd idle, unsigned processors) {
  if (each_) return {};
  const std::string step = "take a control group for servers";
  struct statfs kind{};
  if (::fstatfs(directory.get(), &kind) != 0) return failed(step);
  if (kind.f_type != CGROUP_SUPER_MAGIC) return refuse(Code::kInvalidArgument, step, "it is none of version 1");
  if (idle && (::fstatfs(idle.get(), &kind) != 0 || kind.f_type != CGROUP_SUPER_MAGIC))
    return refuse(Code::kInvalidArgument, step, "the one for who is behind is none of version 1");
  if (idle) (void)::unlinkat(idle.get(), kTrial, AT_REMOVEDIR);
  if (idle && (limits(processors) || ::mkdirat(idle.get(), kTrial, 0755) != 0)) idle.reset();
  if (idle) (void)::unlinkat(idle.get(), kTrial, AT_REMOVEDIR);
  // The kernel lets root of the machine move its own processes; what else may forbid it shows here.
  (void)::unlinkat(directory.get(), kTrial, AT_REMOVEDIR);
  if (::mkdirat(directory.get(), kTrial, 0755) != 0) return failed(step + ": make one below it");
  const UniqueFd trial = open_in(directory.get(), kTrial, O_RDONLY | O_DIRECTORY);
  auto shares = trial ? write_in(trial.get(), "cpu.shares", kServerShares) : Op<void>(failed(step));
  const UniqueFd list = trial ? open_in(trial.get(), "cgroup.procs", O_WRONLY) : UniqueFd();
  const int error = errno;
  (void)::unlinkat(directory.get(), kTrial, AT_REMOVEDIR);
  if (!shares) return shares;
  if (!list) return failed(step + ": move into one below it", error);
  wire::BuildCgroup group;
  group.servers = {{wire::GroupSetting::Value::kQuota, "cpu.cfs_quota_us"}};
  // Where processor time is counted in the same hierarchy, a container's own count is without what is not below it.
  if (idle) idle_usage_ = open_in(idle.get(), "cpuacct.usage", O_RDONLY);
  places_.push_back({std::move(group), std::move(directory), std::move(idle)});
  processors_ = processors;
  each_ = true;
  return {};
}

Op<void> ServerGroups::settle() const {
  for (const Place& place : places_) {
    if (place.group.pass_on.empty()) continue;
    const int directory = place.directory.get();
    if (::mkdirat(directory, wire::kGroupLeaf, 0755) != 0) return failed("make a control group for PID 1");
    if (auto moved = write_in(directory, std::string(wire::kGroupLeaf) + "/cgroup.procs", "0"); !moved) return moved;
    if (auto passed = write_in(directory, "cgroup.subtree_control", place.group.pass_on); !passed) return passed;
    if (place.group.pass_on.find("+cpu") != std::string::npos)
      (void)write_in(directory, std::string(wire::kGroupLeaf) + "/cpu.weight", kLeafWeight);
  }
  return {};
}

std::vector<int> ServerGroups::descriptors() const {
  std::vector<int> out;
  for (const Place& place : places_) {
    out.push_back(place.directory.get());
    if (place.idle) out.push_back(place.idle.get());
  }
  for (const UniqueFd* file : {&usage_, &idle_usage_}) {
    if (*file) out.push_back(file->get());
  }
  return out;
}

Op<ServerGroup> ServerGroups::enter(const std::string& name) const {
  ServerGroup group;
  for (const Place& place : places_) {
    if (::mkdirat(place.directory.get(), name.c_str(), 0755) != 0) return failed("make the server's control group");
    UniqueFd directory = open_in(place.directory.get(), name, O_RDONLY | O_DIRECTORY);
    if (!directory) return failed("open the server's control group");
    if (!place.group.kills.empty()) {
      auto told = watch_memory(place.group, directory.get());
      if (!told) return std::unexpected(told.error());
      group.told = std::move(*told);
    }
    group.directories.push_back(std::move(directory));
  }
  for (const UniqueFd& directory : group.directories) {
    if (auto moved = write_in(directory.get(), "cgroup.procs", "0"); !moved) return std::unexpected(moved.error());
  }
  return group;
}

Op<void> ServerGroups::limit(const ServerGroup& group, const wire::ServerLimits& limits) const {
  for (std::size_t i = 0; i < places_.size() && i < group.directories.size(); ++i) {
    for (const wire::GroupSetting& setting : places_[i].group.servers) {
      if (setting.value == wire::GroupSetting::Value::kQuota)
        (void)write_in(group.directories[i].get(), "cpu.shares", kServerShares);
      const std::string value = group_value(setting.value, limits, processors_);
      if (value.empty()) continue;
      // Kernels differ in what they have besides the limits.
      const bool extra =
          setting.value == wire::GroupSetting::Value::kOne || setting.value == wire::GroupSetting::Value::kZero;
      auto written = write_in(group.directories[i].get(), setting.file, value);
      if (!written && !(extra && written.error().error_number == ENOENT)) return written;
    }
  }
  return {};
}

bool ServerGroups::place(const std::string& name, bool behind) const {
  for (const Place& place : places_) {
    for (const wire::GroupSetting& setting : place.group.servers) {
      const bool first = setting.value == wire::GroupSetting::Value::kQuota;
      if (!first && setting.value != wire::GroupSetting::Value::kQuotaOfAll) continue;
      const UniqueFd directory = open_in(place.directory.get(), name, O_RDONLY | O_DIRECTORY);
      const char* weight = first ? "cpu.shares" : "cpu.weight";
      const bool idle = directory && write_in(directory.get(), "cpu.idle", behind ? "1" : "0").has_value();
      if (behind) return idle || (directory && write_in(directory.get(), weight, first ? "2" : "1").has_value());
      // Who is idle no more has the kernel's usual weight.
      return directory && write_in(directory.get(), weight, first ? kServerShares : kServerWeight).has_value();
    }
  }
  return false;
}

bool ServerGroups::to_move(const std::string& name, bool apart) const {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
    const int from = apart ? place.directory.get() : place.idle.get();
    return place.idle && !read_in(from, name + "/cgroup.procs").empty();
  });
}

void ServerGroups::make_apart(const std::string& name) const {
  for (const Place& place : places_) {
    if (!place.idle || ::mkdirat(place.idle.get(), name.c_str(), 0755) != 0) continue;
    constexpr const char* kQuota = "/cpu.cfs_quota_us";
    const std::string quota = read_in(place.directory.get(), name + kQuota);
    if (!quota.empty() && quota[0] != '-') (void)write_in(place.idle.get(), name + kQuota, quota);
  }
}

std::size_t ServerGroups::move(const std::string& name, bool apart) const {
  std::vector<std::string> tried;
  std::size_t moved = 0;
  for (const Place& place : places_) {
    if (!place.idle) continue;
    const int from = apart ? place.directory.get() : place.idle.get();
    const int to = apart ? place.idle.get() : place.directory.get();
    const UniqueFd list = open_in(to, name + "/cgroup.procs", O_WRONLY);
    // What was started meanwhile by one that was not moved yet is in the list when it is read again.
    for (bool more = static_cast<bool>(list); more;) {
      more = false;
      const std::string pids = read_in(from, name + "/cgroup.procs");
      for (std::size_t at = 0, end = 0; (end = pids.find('\n', at)) != std::string::npos; at = end + 1) {
        std::string pid = pids.substr(at, end - at);
        if (std::ranges::find(tried, pid) != tried.end()) continue;
        if (tried.size() == kMostMoved) return moved;
        moved += ::write(list.get(), pid.data(), pid.size()) > 0 ? 1 : 0;
        tried.push_back(std::move(pid));
        more = true;
      }
    }
  }
  return moved;
}

bool ServerGroups::count_memory() const {
  return std::any_of(places_.begin(), places_.end(), [](const Place& place) {
    return std::any_of(place.group.servers.begin(), place.group.servers.end(), [](const wire::GroupSetting& setting) {
      return setting.value == wire::GroupSetting::Value::kMemory;
    });
  });
}

UniqueFd ServerGroups::watch_whole() const {
  for (const Place& place : places_) {
    if (place.group.kills.empty()) continue;
    auto told = watch_memory(place.group, place.directory.get());
    if (told) return std::move(*told);
  }
  return {};
}

unsigned ServerGroups::told_events() const {
  for (const Place& place : places_) {
    if (!place.group.kills.empty() && !place.group.notify.empty()) return EPOLLIN;
  }
  return EPOLLPRI;
}

bool ServerGroups::is_used(const std::string& name) const {
  return to_move(name, false) || std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
           return !place.group.servers.empty() && !read_in(place.directory.get(), name + "/cgroup.procs").empty();
         });
}

GroupMemory ServerGroups::memory_of(const std::string& name) const {
  GroupMemory memory;
  for (const Place& place : places_) {
    if (place.group.kills.empty()) continue;
    const std::string kills = read_in(place.directory.get(), name + "/" + place.group.kills);
    memory.kills = number_in(kills, "oom_kill").value_or(0);
    memory.own_limit = number_in(kills, "oom");
    if (!memory.own_limit) {
      const std::string all = read_in(place.directory.get(), name + "/memory.stat");
      const std::uint64_t use =
          ::strtoull(read_in(place.directory.get(), name + "/memory.usage_in_bytes").c_str(), nullptr, 10);
      const std::uint64_t cached = number_in(all, "total_cache").value_or(0);
      const std::uint64_t files = cached - std::min(cached, number_in(all, "total_shmem").value_or(0));
      memory.held = use - std::min(use, files);
    }
    if (place.group.peak.empty()) continue;
    memory.peak = ::strtoull(read_in(place.directory.get(), name + "/" + place.group.peak).c_str(), nullptr, 10);
  }
  return memory;
}

int ServerGroups::memory_directory() const {
  for (const Place& place : places_) {
    if (!place.group.kills.empty()) return place.directory.get();
  }
  return -1;
}

bool ServerGroups::is_there(const std::string& name) const {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
    return ::faccessat(place.directory.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           (place.idle && ::faccessat(place.idle.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0);
  });
}

void ServerGroups::remove(const std::string& name) {
  if (!each_) return;
  std::erase_if(leaving_, [this](const std::string& each) { return !is_there(each); });
  leaving_.push_back(name);
  if (::fork() != 0) return;
  give_up_priority();
  if (close_all_but(descriptors()) != 0) ::_exit(1);
  for (int attempt = 0; attempt < kRemovals; ++attempt) {
    bool left = false;
    for (const Place& place : places_) {
      for (const std::string& each : leaving_) {
        left = (::unlinkat(place.directory.get(), each.c_str(), AT_REMOVEDIR) != 0 && errno == EBUSY) || left;
        if (place.idle)
          left = (::unlinkat(place.idle.get(), each.c_str(), AT_REMOVEDIR) != 0 && errno == EBUSY) || left;
      }
    }
    if (!left) break;
    ::usleep(kRemovalPause);
  }
  ::_exit(0);
}

}  // namespace mcpbox::box::init
