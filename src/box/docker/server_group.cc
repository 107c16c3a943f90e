#include "box/docker/server_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/errno_error.h"
#include "base/text.h"
#include "box/idle_groups.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kMaxList = 1u << 20;  // of a group's processes

UniqueFd open_beneath(int directory, const std::string& path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
}

std::string text_in(int directory, const std::string& name) {
  const UniqueFd file = open_beneath(directory, name, O_RDONLY);
  auto text = file ? sys::read_all(file.get(), kMaxList) : Result<std::string>(std::string());
  return text ? std::move(*text) : std::string();
}

bool has_process(int group, pid_t pid) {
  const std::string list = text_in(group, "cgroup.procs");
  const auto lines = split(list, '\n');
  return std::ranges::find(lines, std::to_string(pid)) != lines.end();
}

// Somebody whose ids are mapped is not root for control groups.
bool is_of_our_users(const std::string& processes, pid_t pid) {
  struct stat ours{}, theirs{};
  return ::stat((processes + "/self/ns/user").c_str(), &ours) == 0 &&
         ::stat(fmt::format("{}/{}/ns/user", processes, pid).c_str(), &theirs) == 0 && ours.st_dev == theirs.st_dev &&
         ours.st_ino == theirs.st_ino;
}

unsigned processors_of(int group) {
  const long long quota = ::strtoll(text_in(group, "cpu.cfs_quota_us").c_str(), nullptr, 10);
  const long long period = ::strtoll(text_in(group, "cpu.cfs_period_us").c_str(), nullptr, 10);
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<unsigned>(std::min(quota * 1000 / period, 1'000'000ll));
}

UniqueFd mount_of(int directory, const char* name) {
  return UniqueFd(static_cast<int>(
      ::syscall(SYS_open_tree, directory, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW)));
}

// None where there can be none: who is behind stays in the container's group then. It has the container's limit, which
// PID 1 cannot reach.
UniqueFd idle_group(int hierarchy, int own, const std::string& path) {
  sweep_idle_groups(hierarchy);
  const auto whole = make_idle_group(hierarchy, path);
  if (!whole) return {};
  for (const char* file : {"cpu.cfs_period_us", "cpu.cfs_quota_us"}) {
    const std::string value = text_in(own, file);
    const UniqueFd to = open_beneath(whole->get(), file, O_WRONLY);
    if (!to || ::write(to.get(), value.data(), value.size()) < 0) return {};
  }
  const auto group = make_idle_group(hierarchy, fmt::format("{}/{}", path, kServersGroup));
  return group ? mount_of(whole->get(), kServersGroup) : UniqueFd();
}

}  // namespace

std::optional<std::string> cpu_group_of(std::string_view text, std::string_view container_id) {
  std::optional<std::string> found;
  for (const std::string_view line : split(text, '\n')) {
    // "4:cpu,cpuacct:/docker/ID"; the controllers of version 2 have no names here.
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto controllers = split(line.substr(first + 1, second - first - 1), ',');
    if (std::ranges::find(controllers, "cpu") == controllers.end()) continue;
    if (found) return std::nullopt;
    const std::string_view path = line.substr(second + 1);
    if (path.size() < 2 || path.front() != '/') return std::nullopt;
    const auto parts = split(path.substr(1), '/');
    const auto odd = [](std::string_view part) { return part.empty() || part == "." || part == ".."; };
    if (std::ranges::any_of(parts, odd)) return std::nullopt;
    const std::string_view last = parts.back();
    if (last != container_id && last != fmt::format("docker-{}.scope", container_id)) return std::nullopt;
    found.emplace(path.substr(1));
  }
  return found;
}

Result<GroupOfServers> open_server_group(const KernelPlaces& places, pid_t pid, std::string_view container_id) {
  const std::string root = places.groups + "/cpu";
  const UniqueFd hierarchy(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct statfs kind{};
  if (!hierarchy || ::fstatfs(hierarchy.get(), &kind) != 0 || kind.f_type != CGROUP_SUPER_MAGIC)
    return fail(Code::kUnsupported, "this machine's control groups for processors are not of version 1");
  if (::geteuid() != 0) return fail(Code::kPermissionDenied, "mcpbox does not run as root");
  auto text = pid > 0 ? sys::read_file(fmt::format("{}/{}/cgroup", places.processes, pid))
                      : Result<std::string>(fail(Code::kNotFound, "no process"));
  const auto path = text ? cpu_group_of(*text, container_id) : std::nullopt;
  if (!path) return fail(Code::kUnsupported, "the engine's processes are not this machine's, or have other groups");
  if (!is_of_our_users(places.processes, pid)) return fail(Code::kUnsupported, "the engine maps the container's users");
  const UniqueFd own = open_beneath(hierarchy.get(), *path, O_RDONLY | O_DIRECTORY);
  if (!own) return fail(errno_error(errno, fmt::format("the control group '{}/{}'", root, *path)));
  if (!has_process(own.get(), pid))
    return fail(Code::kUnsupported, fmt::format("the sandbox is not in the control group '{}/{}'", root, *path));
  const std::string name = fmt::format("{}/{}/{}", root, *path, kServersGroup);
  if (::mkdirat(own.get(), kServersGroup, 0755) != 0 && errno != EEXIST)
    return fail(errno_error(errno, fmt::format("the control group '{}'", name)));
  UniqueFd alone = mount_of(own.get(), kServersGroup);
  if (!alone) return fail(errno_error(errno, fmt::format("a mount of the control group '{}'", name)));
  return GroupOfServers{std::move(alone), idle_group(hierarchy.get(), own.get(), *path), processors_of(own.get())};
}

void forget_server_groups(const KernelPlaces& places) {
  const UniqueFd hierarchy(::open((places.groups + "/cpu").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (hierarchy && ::geteuid() == 0) sweep_idle_groups(hierarchy.get());
}

}  // namespace mcpbox::box
