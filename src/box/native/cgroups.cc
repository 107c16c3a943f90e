#include "box/native/cgroups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

constexpr long kPeriod = 100'000;  // microseconds

bool there(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool write_file(const std::string& path, std::string_view text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool usable(const std::string& directory) {
  return (::mkdir(directory.c_str(), 0755) == 0 || errno == EEXIST) && ::access(directory.c_str(), W_OK | X_OK) == 0;
}

std::string first_line(const std::string& path) {
  const std::string text = sys::read_file(path).value_or("");
  return text.substr(0, text.find('\n'));
}

long quota(const SandboxLimits& limits) {
  return std::max(1000L, std::lround(limits.cpus * static_cast<double>(kPeriod)));
}

CgroupHost prepare_second(const std::string& root) {
  CgroupHost host;
  host.version = 2;
  const std::string ours = root + "/mcpbox";
  if (!usable(ours)) {
    host.problem = fmt::format("no control group can be made in {}: {}", root, std::strerror(errno));
    return host;
  }
  for (const char* controller : {"memory", "pids", "cpu"}) {
    // Each by itself: one that is missing must not keep the others away.
    (void)write_file(root + "/cgroup.subtree_control", fmt::format("+{}", controller));
    (void)write_file(ours + "/cgroup.subtree_control", fmt::format("+{}", controller));
  }
  const std::string passed = first_line(ours + "/cgroup.subtree_control");
  const auto names = split(passed, ' ');
  host.memory = std::ranges::find(names, "memory") != names.end();
  host.processes = std::ranges::find(names, "pids") != names.end();
  host.processors = std::ranges::find(names, "cpu") != names.end();
  return host;
}

CgroupHost prepare_first(const std::string& root) {
  CgroupHost host;
  host.memory = there(root + "/memory/memory.limit_in_bytes") && usable(root + "/memory/mcpbox");
  host.processes = there(root + "/pids/cgroup.procs") && usable(root + "/pids/mcpbox");
  host.processors = there(root + "/cpu/cpu.cfs_quota_us") && usable(root + "/cpu/mcpbox");
  return host;
}

}  // namespace

CgroupHost prepare_cgroups(const std::string& root) {
  CgroupHost host = there(root + "/cgroup.controllers") ? prepare_second(root) : prepare_first(root);
  if (host.problem.empty() && !(host.memory && host.processes && host.processors)) {
    host.problem = fmt::format("no control groups of ours for{}{}{} below {}", host.memory ? "" : " memory",
                               host.processes ? "" : " processes", host.processors ? "" : " processor time", root);
  }
  return host;
}

std::vector<wire::BuildCgroup> cgroups_for(const std::string& root, const CgroupHost& host, const std::string& id,
                                           const SandboxLimits& limits) {
  std::vector<wire::BuildCgroup> groups;
  if (host.version == 2) {
    if (!host.memory && !host.processes && !host.processors) return groups;
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/mcpbox/{}", root, id);
    if (host.memory) {
      group.settings.push_back(fmt::format("memory.max={}", limits.memory_bytes));
      if (there(root + "/mcpbox/memory.swap.max")) group.settings.emplace_back("memory.swap.max=0");
      group.kills = "memory.events";
    }
    if (host.processes) group.settings.push_back(fmt::format("pids.max={}", limits.processes));
    if (host.processors) group.settings.push_back(fmt::format("cpu.max={} {}", quota(limits), kPeriod));
    groups.push_back(std::move(group));
    return groups;
  }
  if (host.memory) {
    wire::BuildCgroup group{fmt::format("{}/memory/mcpbox/{}", root, id), {}, "memory.oom_control"};
    group.settings.push_back(fmt::format("memory.limit_in_bytes={}", limits.memory_bytes));
    // Memory and swap together; equal means no swap. Kernels without swap accounting lack the file.
    if (there(root + "/memory/memory.memsw.limit_in_bytes"))
      group.settings.push_back(fmt::format("memory.memsw.limit_in_bytes={}", limits.memory_bytes));
    groups.push_back(std::move(group));
  }
  if (host.processes)
    groups.push_back({fmt::format("{}/pids/mcpbox/{}", root, id), {fmt::format("pids.max={}", limits.processes)}, ""});
  if (host.processors) {
    groups.push_back({fmt::format("{}/cpu/mcpbox/{}", root, id),
                      {fmt::format("cpu.cfs_period_us={}", kPeriod), fmt::format("cpu.cfs_quota_us={}", quota(limits))},
                      ""});
  }
  return groups;
}

}  // namespace mcpbox::box
