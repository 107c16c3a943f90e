#include "box/idle_groups.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::box {
namespace {

constexpr int kMostDeep = 32, kMostAtOnce = 4096;

UniqueFd open_in(int directory, const std::string& name, int flags) {
  return UniqueFd(::openat(directory, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
}

UniqueFd open_group(int directory, const std::string& name) {
  return open_in(directory, name, O_RDONLY | O_DIRECTORY);
}

std::vector<std::string> names_of_groups(int directory) {
  std::vector<std::string> names;
  UniqueFd own = open_group(directory, ".");
  DIR* entries = own ? ::fdopendir(own.get()) : nullptr;
  if (entries == nullptr) return names;
  (void)own.release();
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(entries);
  return names;
}

bool exists(int directory, const std::string& name) {
  return directory >= 0 && ::faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// `mirrored`: what `mirror` is the mirror of; -1: it is gone.
void sweep_below(int mirror, int mirrored, int depth, int& left) {
  for (const std::string& name : names_of_groups(mirror)) {
    if (--left < 0) return;
    const UniqueFd inner = open_group(mirror, name);
    if (!inner) continue;
    const UniqueFd outer = mirrored >= 0 ? open_group(mirrored, name) : UniqueFd();
    if (depth < kMostDeep) sweep_below(inner.get(), outer ? outer.get() : -1, depth + 1, left);
    // Made after its own was, and removed after that, too.
    if (!exists(mirrored, name)) (void)::unlinkat(mirror, name.c_str(), AT_REMOVEDIR);
  }
}

}  // namespace

Result<UniqueFd> make_idle_group(int hierarchy, const std::string& path) {
  const auto failed = [&] {
    return fail(errno_error(errno, fmt::format("the control group '{}/{}'", kIdleGroup, path)));
  };
  if (::mkdirat(hierarchy, kIdleGroup, 0755) != 0 && errno != EEXIST) return failed();
  UniqueFd at = open_group(hierarchy, kIdleGroup);
  if (!at) return failed();
  const UniqueFd idle = open_in(at.get(), "cpu.idle", O_WRONLY);
  if (!idle || ::write(idle.get(), "1", 1) != 1) {
    (void)::unlinkat(hierarchy, kIdleGroup, AT_REMOVEDIR);  // unless somebody uses it
    return fail(Code::kUnsupported, "this kernel knows no idle control groups");
  }
  for (const std::string_view part : split(path, '/')) {
    if (part.empty() || part == "." || part == "..")
      return fail(Code::kInvalidArgument, fmt::format("'{}' is no path of a control group", path));
    const std::string name(part);
    if (::mkdirat(at.get(), name.c_str(), 0755) != 0 && errno != EEXIST) return failed();
    UniqueFd next = open_group(at.get(), name);
    if (!next) return failed();
    at = std::move(next);
  }
  return at;
}

void sweep_idle_groups(int hierarchy) {
  const UniqueFd mirror = open_group(hierarchy, kIdleGroup);
  int left = kMostAtOnce;
  if (mirror) sweep_below(mirror.get(), hierarchy, 0, left);
}

}  // namespace mcpbox::box
