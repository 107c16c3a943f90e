#include "box/init/sandbox_processors.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace mcpbox::box::init {
namespace {

std::string read_start(int fd) {
  char buffer[1024];
  const ssize_t got = fd >= 0 ? ::pread(fd, buffer, sizeof buffer, 0) : -1;
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

std::string read_path(const char* path) {
  return read_start(UniqueFd(::open(path, O_RDONLY | O_CLOEXEC)).get());
}

}  // namespace

std::optional<std::chrono::microseconds> parse_processor_time(bool second, const std::string& text) {
  constexpr char kLine[] = "usage_usec ";
  const std::size_t at = second ? text.find(kLine) : 0;
  if (text.empty() || at == std::string::npos) return std::nullopt;
  const char* from = text.c_str() + at + (second ? sizeof kLine - 1 : 0);
  char* end = nullptr;
  const unsigned long long number = ::strtoull(from, &end, 10);
  if (end == from) return std::nullopt;
  return std::chrono::microseconds(second ? number : number / 1000);
}

unsigned parse_processor_limit(const std::string& quota, const std::string& period) {
  // "200000 100000" or "max 100000" is both in version 2; "-1" is no limit in version 1.
  const long long most = ::strtoll(quota.c_str(), nullptr, 10);
  const std::size_t space = period.find(' ');
  const long long of = ::strtoll(period.c_str() + (space == std::string::npos ? 0 : space), nullptr, 10);
  if (most <= 0 || of <= 0) return 0;
  return static_cast<unsigned>(std::min(most * 1000 / of, 1'000'000ll));
}

unsigned SandboxProcessors::present() {
  cpu_set_t set;
  const int count = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  // More than fit into it are more than anybody's sandbox may use.
  return static_cast<unsigned>(std::max(1, count)) * 1000;
}

SandboxProcessors::SandboxProcessors(int usage, unsigned limit) : whole_(present()) {
  if (limit != 0) whole_ = std::min(whole_, limit);
  if (usage >= 0) {
    usage_.reset(::fcntl(usage, F_DUPFD_CLOEXEC, 0));
    for (const bool second : {false, true}) {
      second_ = second;
      if (used()) return;
    }
    usage_.reset();
    return;
  }
  constexpr std::pair<const char*, bool> kPlaces[] = {{"/sys/fs/cgroup/cpuacct/cpuacct.usage", false},
                                                      {"/sys/fs/cgroup/cpu.stat", true}};
  for (const auto& [path, second] : kPlaces) {
    usage_.reset(::open(path, O_RDONLY | O_CLOEXEC));
    second_ = second;
    if (used()) break;
    usage_.reset();
  }
  if (!usage_) return;
  const std::string quota = read_path(second_ ? "/sys/fs/cgroup/cpu.max" : "/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const std::string period = second_ ? quota : read_path("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (const unsigned named = parse_processor_limit(quota, period)) whole_ = std::min(whole_, named);
}

void SandboxProcessors::add(int usage) {
  if (usage >= 0) apart_.reset(::fcntl(usage, F_DUPFD_CLOEXEC, 0));
}

std::optional<std::chrono::microseconds> SandboxProcessors::used() const {
  auto used = parse_processor_time(second_, read_start(usage_.get()));
  if (used && apart_)
    *used += parse_processor_time(false, read_start(apart_.get())).value_or(std::chrono::microseconds(0));
  return used;
}

}  // namespace mcpbox::box::init
