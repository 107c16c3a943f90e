#include "box/native/project_quota.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <random>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "box/engine.h"
#include "box/wire/hidden_files.h"
#include "sys/directory.h"

namespace mcpbox::box {
namespace {

// The numbers of servers' user ids: a project mostly has that of its server.
constexpr UidRange kProjects;
// Where a look for them begins: from a number in the midst of those that the tree of ext4's quotas has no branch for,
// Linux (find_next_id() in fs/quota/quota_tree.c) passes over others.
constexpr std::uint32_t kFirstLook = kProjects.first & ~0xFFFFFFu;
constexpr int kDraws = 32;
constexpr int kMostLooks = 10'000;
constexpr std::size_t kMostNames = 10'000'000;
constexpr std::uint64_t kStatBlock = 512;  // of st_blocks
constexpr unsigned long kXfsMagic = 0x58465342;

bool is_ours(std::uint32_t id) {
  return id >= kProjects.first && id - kProjects.first < kProjects.count;
}

UniqueFd open_entry(int folder, const char* name, int flags) {
  return UniqueFd(::openat(folder, name, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

using Visit = std::function<Result<void>(int parent, const std::string& name, const struct stat& info)>;

// Everything below the folder, a folder before what is in it. What goes meanwhile is left out.
Result<void> visit_below(int folder, const std::vector<std::string>& left_out, std::size_t depth, const Visit& visit) {
  if (depth > wire::kMaxFolderDepth) return fail(Code::kResourceExhausted, "too many folders are in each other");
  const UniqueFd directory = open_entry(folder, ".", O_DIRECTORY);
  if (!directory) return fail(errno_error(errno, "cannot open a server's folder"));
  const auto names = sys::read_names(directory.get(), kMostNames);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (std::ranges::find(left_out, name) != left_out.end()) continue;
    struct stat info{};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return fail(errno_error(errno, "cannot look at a server's file"));
    }
    if (auto visited = visit(folder, name, info); !visited) return visited;
    if (!S_ISDIR(info.st_mode)) continue;
    const UniqueFd below = open_entry(folder, name.c_str(), O_DIRECTORY);
    if (!below && errno == ENOENT) continue;
    if (!below) return fail(errno_error(errno, "cannot open a server's folder"));
    if (auto visited = visit_below(below.get(), {}, depth + 1, visit); !visited) return visited;
  }
  return {};
}

// A link has no descriptor by which a project could be set, and with another one than its folder it could not be
// renamed (EXDEV). One that is made anew inherits.
Result<void> make_link_anew(int folder, const std::string& name, const struct stat& info) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlinkat(folder, name.c_str(), target.data(), target.size() - 1);
  if (size < 0 && errno == ENOENT) return {};
  const std::string fresh = ".new-" + random_hex(8);
  if (size < 0 || ::symlinkat(target.data(), folder, fresh.c_str()) != 0)
    return fail(errno_error(errno, "cannot make a server's link anew"));
  if (::fchownat(folder, fresh.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
      ::renameat(folder, fresh.c_str(), folder, name.c_str()) == 0)
    return {};
  const int error = errno;
  ::unlinkat(folder, fresh.c_str(), 0);
  return fail(errno_error(error, "cannot make a server's link anew"));
}

Result<void> bring_in(const QuotaCalls& calls, int folder, std::uint32_t id) {
  return visit_below(folder, {}, 0, [&](int parent, const std::string& name, const struct stat& info) -> Result<void> {
    if (S_ISLNK(info.st_mode)) return make_link_anew(parent, name, info);
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) return {};  // takes no room
    const UniqueFd entry = open_entry(parent, name.c_str(), 0);
    if (!entry && errno == ENOENT) return {};
    if (!entry) return fail(errno_error(errno, "cannot open a server's file"));
    const FolderProject wanted{id, S_ISDIR(info.st_mode)};
    const auto has = calls.project(entry.get());
    if (!has) return fail(has.error());
    return *has == wanted ? Result<void>() : calls.set_project(entry.get(), wanted);
  });
}

// Puts a number on the folder that nobody else has.
Result<std::uint32_t> take_number(const QuotaCalls& calls, int folder, std::uint32_t wish) {
  std::random_device random;
  std::uint32_t id = is_ours(wish) ? wish : kProjects.first;
  for (int draw = 0; draw < kDraws; ++draw, id = kProjects.first + random() % kProjects.count) {
    auto use = calls.use(folder, id);
    if (use && use->files != 0) continue;
    if (use) {
      if (auto set = calls.set_project(folder, {id, false}); !set) return fail(std::move(set).error());
      use = calls.use(folder, id);
    }
    if (!use) return fail(std::move(use).error());
    if (use->files == 1) return id;
  }
  (void)calls.set_project(folder, {0, false});
  return fail(Code::kResourceExhausted, "no number of a project is free");
}

// Before any of them goes: a number that is gone is no place to look on from.
Result<std::vector<std::uint32_t>> unused_limits(const QuotaCalls& calls, int at) {
  std::vector<std::uint32_t> unused;
  std::uint32_t from = kFirstLook;
  for (int look = 0; look < kMostLooks; ++look) {
    auto found = calls.next(at, from);
    if (!found) return fail(std::move(found).error());
    if (!*found || (*found)->id < from) break;
    const ProjectUse& left = **found;
    if (left.id > kProjects.first && !is_ours(left.id)) break;
    if (is_ours(left.id) && left.limited && left.files == 0) unused.push_back(left.id);
    from = left.id + 1;
  }
  return unused;
}

}  // namespace

Result<std::uint32_t> claim_project(const QuotaCalls& calls, const std::vector<UniqueFd>& folders, std::uint32_t wish) {
  std::vector<FolderProject> have;
  for (const UniqueFd& folder : folders) {
    auto project = calls.project(folder.get());
    if (!project) return fail(std::move(project).error());
    if (project->id != 0 && !is_ours(project->id))
      return fail(Code::kFailedPrecondition, fmt::format("its folder belongs to the project {} already", project->id));
    have.push_back(*project);
  }
  std::uint32_t id = have.front().id;
  // It is passed on from when all below it has it.
  if (!have.front().inherited || id == 0) {
    auto taken = take_number(calls, folders.front().get(), wish);
    if (!taken) return taken;
    id = *taken;
  }
  if (auto lifted = calls.limit(folders.front().get(), id, 0, 0); !lifted) return fail(std::move(lifted).error());
  const FolderProject wanted{id, true};
  for (std::size_t i = 0; i < folders.size(); ++i) {
    if (have[i] == wanted) continue;
    if (auto brought = bring_in(calls, folders[i].get(), id); !brought) return fail(std::move(brought).error());
    if (auto set = calls.set_project(folders[i].get(), wanted); !set) return fail(std::move(set).error());
  }
  return id;
}

Result<ProjectUse> use_beside(int folder, const std::vector<std::string>& names) {
  ProjectUse use;
  auto visited = visit_below(folder, names, 0, [&](int, const std::string&, const struct stat& info) -> Result<void> {
    use.bytes += static_cast<std::uint64_t>(info.st_blocks) * kStatBlock;
    ++use.files;
    return {};
  });
  if (!visited) return fail(std::move(visited).error());
  return use;
}

Result<void> drop_unused_limits(const QuotaCalls& calls, const std::string& folder) {
  const UniqueFd at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!at) return fail(errno_error(errno, printable(folder)));
  const auto unused = unused_limits(calls, at.get());
  if (!unused) return fail(unused.error());
  for (const std::uint32_t id : *unused) {
    // As a server's folder would have it: whoever wants the number now takes another.
    const std::string name = ".quota-" + random_hex(8);
    if (::mkdirat(at.get(), name.c_str(), 0700) != 0) return fail(errno_error(errno, printable(folder)));
    Result<void> done;
    if (const UniqueFd own = open_entry(at.get(), name.c_str(), O_DIRECTORY); own) {
      done = calls.set_project(own.get(), {id, false});
      const auto use = calls.use(own.get(), id);
      if (done && use && use->files == 1) done = calls.limit(own.get(), id, 0, 0);
    }
    ::unlinkat(at.get(), name.c_str(), AT_REMOVEDIR);
    if (!done) return done;
  }
  return {};
}

std::string describe_disk_limits(const QuotaCalls& calls, const std::string& folder, bool root) {
  std::filesystem::path there(folder);
  UniqueFd at;
  while (!at && !there.empty()) {
    at.reset(::open(there.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!at && there == there.root_path()) break;
    if (!at) there = there.parent_path();
  }
  const std::string where = printable(there.string(), 200);
  std::string walk(kDiskWalk);
  const auto enforced = at ? calls.enforced(at.get()) : Result<bool>(false);
  if (enforced && *enforced && root) {
    return fmt::format(
        "held by the file system of {} (project quotas), which refuses what goes beyond them, and a "
        "walk of its folders ends who passes one",
        where);
  }
  if (!root) return walk + "; project quotas are only for root's native engine";
  struct statfs system{};
  if (!at || ::fstatfs(at.get(), &system) != 0) return walk;
  const auto type = static_cast<unsigned long>(system.f_type);
  const bool ext4 = type == EXT4_SUPER_MAGIC;
  if (!ext4 && type != kXfsMagic)
    return fmt::format("{}; a state directory on ext4 or XFS with project quotas would refuse it at once", walk);
  if (!enforced && enforced.error().code() == Code::kUnsupported)
    return fmt::format("{}; this kernel ({}) has no project quotas (Linux 5.14, CONFIG_QUOTA, CONFIG_XFS_QUOTA)", walk,
                       ext4 ? "ext4" : "XFS");
  return fmt::format("{}; with project quotas the file system of {} would refuse it at once: {}", walk, where,
                     ext4 ? "`tune2fs -O quota,project DEVICE` while it is not mounted, then the mount option prjquota"
                          : "the mount option prjquota (of the root file system: rootflags=prjquota for the kernel)");
}

}  // namespace mcpbox::box
