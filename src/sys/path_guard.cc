#include "sys/path_guard.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/errno_error.h"

namespace mcpbox::sys {
namespace {

std::atomic<bool> openat2_missing{false};

// The id of the mount that `fd` lies on, from fdinfo(5): it also tells bind mounts of one file system apart. -1 without
// /proc.
long mount_of(int fd) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  UniqueFd info(::open(path, O_RDONLY | O_CLOEXEC));
  if (!info) return -1;
  char text[512] = {};
  ssize_t got = ::read(info.get(), text, sizeof text - 1);
  if (got <= 0) return -1;
  const char* line = std::strstr(text, "mnt_id:");
  return line == nullptr ? -1 : std::strtol(line + 7, nullptr, 10);
}

bool same_mount(int a, int b) {
  long left = mount_of(a);
  long right = mount_of(b);
  if (left >= 0 && right >= 0) return left == right;
  struct stat one{};
  struct stat other{};
  return ::fstat(a, &one) == 0 && ::fstat(b, &other) == 0 && one.st_dev == other.st_dev;
}

std::expected<UniqueFd, int> by_components(int directory, const std::string& path, int flags,
                                           const BeneathOptions& options) {
  UniqueFd here;
  int at = directory;
  std::size_t begin = 0;
  for (;;) {
    std::size_t end = path.find('/', begin);
    std::string name = path.substr(begin, end == std::string::npos ? end : end - begin);
    bool last = end == std::string::npos;
    if (name == "..") return std::unexpected(EXDEV);
    // The type is looked at through O_PATH first: opening a FIFO or a device has effects.
    UniqueFd next(::openat(at, name.empty() ? "." : name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return std::unexpected(errno);
    struct stat status{};
    if (::fstat(next.get(), &status) != 0) return std::unexpected(errno);
    if (!options.cross_mounts && !same_mount(at, next.get())) return std::unexpected(EXDEV);
    if (S_ISLNK(status.st_mode) && !(last && (flags & O_PATH) != 0)) return std::unexpected(ELOOP);
    if (last) {
      if ((flags & O_DIRECTORY) != 0 && !S_ISDIR(status.st_mode)) return std::unexpected(ENOTDIR);
      if ((flags & O_PATH) != 0) return next;
      return reopen(next.get(), flags);
    }
    if (!S_ISDIR(status.st_mode)) return std::unexpected(ENOTDIR);
    here = std::move(next);
    at = here.get();
    begin = end + 1;
  }
}

}  // namespace

std::expected<UniqueFd, int> open_beneath(int directory, const std::string& path, int flags,
                                          const BeneathOptions& options) {
  if (path.empty()) return std::unexpected(ENOENT);
  if (path.front() == '/') return std::unexpected(EXDEV);
  if (path.find('\0') != std::string::npos) return std::unexpected(EINVAL);
  flags |= O_CLOEXEC | O_NOFOLLOW;
  if (options.force_fallback || openat2_missing.load(std::memory_order_relaxed))
    return by_components(directory, path, flags, options);
  struct open_how how{};
  how.flags = static_cast<unsigned>(flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  if (!options.cross_mounts) how.resolve |= RESOLVE_NO_XDEV;
  // RESOLVE_BENEATH answers EAGAIN when something was renamed meanwhile; openat2(2) asks for a retry, but not for ever.
  for (int attempt = 0;; ++attempt) {
    long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == EAGAIN && attempt < 64) continue;
    if (errno == EINTR) continue;
    // Old seccomp profiles answer EPERM to system calls that they do not know; openat2 itself never returns it for
    // O_RDONLY.
    if (errno == ENOSYS || errno == EPERM) {
      if (errno == ENOSYS) openat2_missing.store(true, std::memory_order_relaxed);
      return by_components(directory, path, flags, options);
    }
    return std::unexpected(errno);
  }
}

Result<UniqueFd> open_directory(const std::string& absolute) {
  if (absolute.empty() || absolute.front() != '/')
    return fail(Code::kInvalidArgument, "'" + absolute + "' is not an absolute path");
  UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail(errno_error(errno, "open /"));
  std::size_t begin = absolute.find_first_not_of('/');
  if (begin == std::string::npos) return root;
  std::string rest = absolute.substr(begin);
  while (rest.back() == '/') rest.pop_back();
  auto opened = open_beneath(root.get(), rest, O_PATH | O_DIRECTORY);
  if (!opened) return fail(errno_error(opened.error(), "open " + absolute));
  struct stat status{};
  if (::fstat(opened->get(), &status) != 0) return fail(errno_error(errno, "stat " + absolute));
  if (!S_ISDIR(status.st_mode)) return fail(errno_error(S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR, "open " + absolute));
  return std::move(*opened);
}

Result<ReachedDirectory> reach_directory(const std::string& absolute) {
  if (absolute.empty() || absolute.front() != '/')
    return fail(Code::kInvalidArgument, "'" + absolute + "' is not an absolute path");
  ReachedDirectory reached;
  reached.fd.reset(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::size_t begin = 0;
  while (true) {
    struct stat status{};
    if (!reached.fd || ::fstat(reached.fd.get(), &status) != 0) return fail(errno_error(errno, "open " + absolute));
    if (!S_ISDIR(status.st_mode))
      return fail(errno_error(S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR, "open " + absolute));
    reached.chain.insert(reached.chain.begin(), id_of(status));
    reached.uid = status.st_uid;
    reached.gid = status.st_gid;
    begin = absolute.find_first_not_of('/', begin);
    if (begin == std::string::npos) return reached;
    const std::size_t end = std::min(absolute.find('/', begin), absolute.size());
    auto next = open_beneath(reached.fd.get(), absolute.substr(begin, end - begin), O_PATH);
    if (!next) return fail(errno_error(next.error(), "open " + absolute));
    reached.fd = std::move(*next);
    begin = end;
  }
}

std::expected<UniqueFd, int> reopen(int path_fd, int flags) {
  // The magic link must be followed here, and it leads to the inode that we hold; O_NOFOLLOW would refuse it.
  flags = (flags & ~O_NOFOLLOW) | O_CLOEXEC;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", path_fd);
  UniqueFd fd(::open(path, flags));
  if (!fd) return std::unexpected(errno);
  return fd;
}

}  // namespace mcpbox::sys
