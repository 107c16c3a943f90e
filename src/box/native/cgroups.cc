#include "box/native/cgroups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/text.h"
#include "base/unique_fd.h"
#include "box/idle_groups.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

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
  return std::max(1000L, std::lround(limits.cpus * static_cast<double>(wire::kGroupPeriod)));
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
  host.apart = host.processors && !there(root + "/cpu/cpuacct.usage") && there(root + "/cpuacct/cpuacct.usage") &&
               usable(root + "/cpuacct/mcpbox");
  const UniqueFd hierarchy(::open((root + "/cpu").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  host.idle = host.processors && hierarchy && make_idle_group(hierarchy.get(), "mcpbox");
  if (host.idle) sweep_idle_groups(hierarchy.get());
  return host;
}

}  // namespace

CgroupHost prepare_cgroups(const std::string& root) {
  CgroupHost host = there(root + "/cgroup.controllers") ? prepare_second(root) : prepare_first(root);
  if (host.problem.empty() && !(host.memory && host.processes && host.processors)) {
    std::vector<std::string> missing;
    if (!host.memory) missing.emplace_back("memory");
    if (!host.processes) missing.emplace_back("processes");
    if (!host.processors) missing.emplace_back("processor time");
    host.problem = fmt::format("no control groups of ours for {} below {}", join(missing, ", "), root);
  }
  return host;
}

std::vector<wire::BuildCgroup> cgroups_for(const std::string& root, const CgroupHost& host, const std::string& id,
                                           const SandboxLimits& limits) {
  using Value = wire::GroupSetting::Value;
  std::vector<wire::BuildCgroup> groups;
  if (host.version == 2) {
    if (!host.memory && !host.processes && !host.processors) return groups;
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/mcpbox/{}", root, id);
    if (host.memory) {
      group.settings.push_back(fmt::format("memory.max={}", limits.memory_bytes));
      group.servers.push_back({Value::kMemory, "memory.max"});
      if (there(root + "/mcpbox/memory.swap.max")) {
        group.settings.emplace_back("memory.swap.max=0");
        group.servers.push_back({Value::kZero, "memory.swap.max"});
      }
      group.servers.push_back({Value::kOne, "memory.oom.group"});
      group.kills = "memory.events";
      if (there(root + "/mcpbox/memory.peak")) group.peak = "memory.peak";
      group.pass_on = "+memory";
    }
    if (host.processes) {
      group.settings.push_back(fmt::format("pids.max={}", limits.processes));
      group.servers.push_back({Value::kProcesses, "pids.max"});
      group.pass_on += group.pass_on.empty() ? "+pids" : " +pids";
    }
    if (host.processors) {
      group.settings.push_back(fmt::format("cpu.max={} {}", quota(limits), wire::kGroupPeriod));
      group.servers.push_back({Value::kQuotaOfAll, "cpu.max"});
      group.usage = "cpu.stat";
      group.pass_on += group.pass_on.empty() ? "+cpu" : " +cpu";
    }
    groups.push_back(std::move(group));
    return groups;
  }
  if (host.memory) {
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/memory/mcpbox/{}", root, id);
    group.kills = "memory.oom_control";
    group.peak = "memory.max_usage_in_bytes";
    group.notify = "cgroup.event_control";
    // Memory and swap together; equal means no swap. Kernels without swap accounting lack the second file.
    for (const char* file : {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}) {
      if (!there(fmt::format("{}/memory/{}", root, file))) continue;
      group.settings.push_back(fmt::format("{}={}", file, limits.memory_bytes));
      group.servers.push_back({Value::kMemory, file});
    }
    groups.push_back(std::move(group));
  }
  if (host.processes) {
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/pids/mcpbox/{}", root, id);
    group.settings = {fmt::format("pids.max={}", limits.processes)};
    group.servers = {{Value::kProcesses, "pids.max"}};
    groups.push_back(std::move(group));
  }
  if (host.processors) {
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/cpu/mcpbox/{}", root, id);
    group.settings = {fmt::format("cpu.cfs_period_us={}", wire::kGroupPeriod),
                      fmt::format("cpu.cfs_quota_us={}", quota(limits))};
    group.servers = {{Value::kQuota, "cpu.cfs_quota_us"}};
    if (there(root + "/cpu/mcpbox/cpuacct.usage")) group.usage = "cpuacct.usage";
    if (host.idle) group.idle = fmt::format("{}/cpu/{}/mcpbox/{}", root, kIdleGroup, id);
    groups.push_back(std::move(group));
  }
  if (host.apart) {
    wire::BuildCgroup group;
    group.directory = fmt::format("{}/cpuacct/mcpbox/{}", root, id);
    group.usage = "cpuacct.usage";
    groups.push_back(std::move(group));
  }
  return groups;
}

Result<GroupOfServers> groups_since_built(const CgroupHost& host) {
  if (!host.processors) return fail(Code::kUnsupported, host.problem);
  return GroupOfServers();
}

bool remove_cgroup(const std::string& path) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    std::error_code no_directory;
    if (at->is_directory(no_directory)) ::rmdir(at->path().c_str());
  }
  return ::rmdir(path.c_str()) == 0 || errno != EBUSY;
}

}  // namespace mcpbox::box
