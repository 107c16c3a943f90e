#include "box/init/tree_remove.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/init/one_id.h"

namespace mcpbox::box::init {
namespace {

constexpr unsigned kMaxRootDepth = 16;
constexpr std::string_view kAside = ".trash.";

// All names in a directory; the helper's memory is bounded by the sandbox's limit.
std::vector<std::string> all_names(int directory, int& error) {
  auto names = names_in(directory, static_cast<std::size_t>(-1));
  if (names) return std::move(*names);
  error = names.error().error_number;
  return {};
}

// Opens the directory behind an O_PATH descriptor for reading, after giving its owner every right to it.
UniqueFd open_forced(int path_fd) {
  const std::string self = "/proc/self/fd/" + std::to_string(path_fd);
  if (::chmod(self.c_str(), 0700) != 0) return UniqueFd();
  return UniqueFd(::openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

Op<void> empty_directory(int path_fd) {
  UniqueFd top = open_forced(path_fd);
  if (!top) return failed("open a directory");
  unsigned long moved = 0;
  while (true) {
    int error = 0;
    const std::vector<std::string> names = all_names(top.get(), error);
    if (error != 0) return failed("read a directory", error);
    if (names.empty()) return {};
    bool progress = false;
    int problem = 0;
    for (const std::string& name : names) {
      if (::unlinkat(top.get(), name.c_str(), 0) == 0) {
        progress = true;
        continue;
      }
      if (errno != EISDIR) {
        problem = errno;
        continue;
      }
      UniqueFd path(::openat(top.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      UniqueFd directory = path ? open_forced(path.get()) : UniqueFd();
      if (!directory) {
        problem = errno;
        continue;
      }
      for (const std::string& inner : all_names(directory.get(), error)) {
        if (::unlinkat(directory.get(), inner.c_str(), 0) == 0) {
          progress = true;
        } else if (errno == EISDIR) {
          // Flatten: a directory in a directory moves to the top, so that depth costs neither descriptors nor stack.
          // Changing its parent needs write permission on itself (path_resolution(7): "..").
          UniqueFd deep(::openat(directory.get(), inner.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
          if (deep) (void)open_forced(deep.get());
          const std::string name_at_top = ".up" + std::to_string(moved++);
          if (::unlinkat(directory.get(), inner.c_str(), AT_REMOVEDIR) == 0 ||
              ::renameat2(directory.get(), inner.c_str(), top.get(), name_at_top.c_str(), RENAME_NOREPLACE) == 0 ||
              errno == EEXIST) {
            progress = true;
          } else {
            problem = errno;
          }
        } else {
          problem = errno;
        }
      }
      if (::unlinkat(top.get(), name.c_str(), AT_REMOVEDIR) == 0) progress = true;
    }
    if (!progress) return failed("remove a file", problem != 0 ? problem : EIO);
  }
}

namespace {

// The identity for a directory of `uid`: its group if it has one of its own.
gid_t group_of(const struct stat& info) {
  return info.st_gid != 0 ? info.st_gid : static_cast<gid_t>(info.st_uid);
}

Op<void> remove_owned(int parent, const std::string& name, const struct stat& info, Clock::time_point deadline) {
  UniqueFd path(::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!path) return failed("open '" + name + "'");
  auto emptied = run_as(info.st_uid, group_of(info), deadline, [&]() -> Op<std::string> {
    if (auto done = empty_directory(path.get()); !done) return std::unexpected(done.error());
    return std::string();
  });
  if (!emptied) return std::unexpected(emptied.error());
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0) return failed("remove '" + name + "'");
  return {};
}

Op<void> remove_below(int parent, const std::string& name, uid_t uid, Clock::time_point deadline, unsigned depth) {
  struct stat info{};
  if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return failed("inspect '" + name + "'");
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) return failed("remove '" + name + "'");
    return {};
  }
  if (one_id() || (info.st_uid == uid && uid != 0)) return remove_owned(parent, name, info, deadline);
  if (info.st_uid != 0) {
    return refuse(Code::kPermissionDenied, "remove '" + name + "'",
                  "it belongs to uid " + std::to_string(info.st_uid) + ", not to " + std::to_string(uid));
  }
  if (depth == kMaxRootDepth) return refuse(Code::kFailedPrecondition, "remove '" + name + "'", "nested too deeply");
  UniqueFd directory(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return failed("open '" + name + "'");
  auto names = names_in(directory.get(), static_cast<std::size_t>(-1));
  if (!names) return std::unexpected(names.error());
  for (const std::string& inner : *names) {
    if (auto removed = remove_below(directory.get(), inner, uid, deadline, depth + 1); !removed) return removed;
  }
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0) return failed("remove '" + name + "'");
  return {};
}

}  // namespace

Op<void> remove_entry(int parent, const std::string& name, uid_t uid, Clock::time_point deadline) {
  return remove_below(parent, name, uid, deadline, 0);
}

Op<void> remove_tree(const Roots& roots, const wire::RemoveTree& request, Clock::time_point deadline) {
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  auto entry = open_parent(*place, false);
  if (!entry) {
    if (entry.error().error_number == ENOENT) return {};
    return std::unexpected(entry.error());
  }
  auto removed = remove_entry(entry->parent.get(), entry->name, request.uid, deadline);
  if (!removed) removed.error().step = "remove '" + request.path + "': " + removed.error().step;
  return removed;
}

Op<Published> publish(const Roots& roots, const wire::Publish& request) {
  const std::string step = "publish '" + request.from + "' as '" + request.to + "'";
  auto from = roots.find(request.from);
  if (!from) return std::unexpected(from.error());
  auto to = roots.find(request.to);
  if (!to) return std::unexpected(to.error());
  auto source = open_parent(*from, false);
  if (!source) return std::unexpected(source.error());
  auto target = open_parent(*to, false);
  if (!target) return std::unexpected(target.error());
  struct stat a{}, b{}, old{};
  if (::fstat(source->parent.get(), &a) != 0 || ::fstat(target->parent.get(), &b) != 0) return failed(step);
  if (a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
    return refuse(Code::kInvalidArgument, step, "both must be in one directory");
  }
  const int parent = target->parent.get();
  const char* from_name = source->name.c_str();
  const char* to_name = target->name.c_str();
  if (::fstatat(parent, from_name, &a, AT_SYMLINK_NOFOLLOW) != 0) return failed(step);
  if (a.st_uid != shown_id(request.owner)) return refuse(Code::kPermissionDenied, step, "it belongs to somebody else");
  const bool replaces = ::fstatat(parent, to_name, &old, AT_SYMLINK_NOFOLLOW) == 0;
  if (!replaces) {
    if (errno != ENOENT || ::renameat2(parent, from_name, parent, to_name, RENAME_NOREPLACE) != 0) return failed(step);
    return Published{std::move(target->parent)};
  }
  const std::string aside = random_name(kAside);
  if (::renameat2(parent, from_name, parent, to_name, RENAME_EXCHANGE) == 0) {
    if (::renameat(parent, from_name, parent, aside.c_str()) != 0) return failed(step);
  } else if (errno == EINVAL) {  // a file system without exchange: a moment without either name
    if (::renameat(parent, to_name, parent, aside.c_str()) != 0) return failed(step);
    if (::renameat2(parent, from_name, parent, to_name, RENAME_NOREPLACE) != 0) return failed(step);
  } else {
    return failed(step);
  }
  return Published{std::move(target->parent)};
}

void remove_put_aside(const Published& published, Clock::time_point deadline) {
  // Also what an earlier run left behind when the sandbox was stopped in the middle.
  const int parent = published.parent.get();
  auto names = names_in(parent, static_cast<std::size_t>(-1));
  if (!names) return;
  for (const std::string& name : *names) {
    struct stat info{};
    if (!name.starts_with(kAside) || ::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    (void)remove_entry(parent, name, info.st_uid, deadline);
  }
}

}  // namespace mcpbox::box::init
