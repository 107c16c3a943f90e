#include "box/init/sandbox_memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "box/init/sandbox_gauge.h"

namespace mcpbox::box::init {
namespace {

// Limits beyond that are none: version 1 has a number for it.
constexpr std::uint64_t kNoLimit = 1ull << 50;

std::string read_at(int directory, const std::string& name) {
  UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  char buffer[8192];
  const ssize_t got = file ? ::read(file.get(), buffer, sizeof buffer) : -1;
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

// Of lines "NAME NUMBER" or "NAME: NUMBER kB"; 0 for a name that is not there.
std::uint64_t number_of(const std::string& text, const std::string& name) {
  for (std::size_t at = 0; at < text.size();) {
    if (text.compare(at, name.size(), name) == 0) return ::strtoull(text.c_str() + at + name.size(), nullptr, 10);
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return 0;
}

}  // namespace

std::optional<GroupUse> parse_group_use(bool second, const std::string& usage, const std::string& limit,
                                        const std::string& stat) {
  if (usage.empty() || stat.empty()) return std::nullopt;
  GroupUse use;
  use.used = ::strtoull(usage.c_str(), nullptr, 10);
  // Memory file systems and shared memory are among the cached files there, and are not given back.
  const std::uint64_t files = second ? left_of(number_of(stat, "file "), number_of(stat, "shmem "))
                                     : left_of(number_of(stat, "total_cache "), number_of(stat, "total_shmem "));
  use.used = left_of(use.used, files + (second ? number_of(stat, "slab_reclaimable ") : 0));
  use.limit = ::strtoull(limit.c_str(), nullptr, 10);  // "max" is 0
  if (use.limit >= kNoLimit) use.limit = 0;
  return use;
}

std::optional<GroupUse> group_use(int at, const std::string& name) {
  const std::string current = read_at(at, name + "/memory.current");
  const std::string stat = read_at(at, name + "/memory.stat");
  if (!current.empty()) return parse_group_use(true, current, read_at(at, name + "/memory.max"), stat);
  return parse_group_use(false, read_at(at, name + "/memory.usage_in_bytes"),
                         read_at(at, name + "/memory.limit_in_bytes"), stat);
}

std::optional<std::uint64_t> parse_machine_use(const std::string& meminfo) {
  if (meminfo.find("\nShmem:") == std::string::npos) return std::nullopt;
  return (number_of(meminfo, "Shmem:") + number_of(meminfo, "SUnreclaim:")) * 1024;
}

SandboxMemory::SandboxMemory(int group) {
  if (group >= 0) {
    group_.reset(::openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return;
  }
  for (const char* path : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
    group_.reset(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // One without a limit is nobody's in particular: the machine's own, as an engine may show it.
    const auto use = group_ ? group_use(group_.get(), ".") : std::nullopt;
    if (use && use->limit != 0) return;
  }
  group_.reset();
}

std::optional<GroupUse> SandboxMemory::measured() const {
  return group_ ? group_use(group_.get(), ".") : std::nullopt;
}

std::uint64_t SandboxMemory::unexplained(std::uint64_t shared) {
  const auto now = parse_machine_use(read_at(AT_FDCWD, "/proc/meminfo"));
  if (!now) return 0;
  const std::uint64_t others = left_of(*now, shared);
  least_ = least_ ? std::min(*least_, others) : others;
  return others - *least_;
}

}  // namespace mcpbox::box::init
