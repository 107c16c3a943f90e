// Opens files beneath a directory that an attacker may be changing at the same time, without ever leaving it.
//
// openat2(2) with RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS (Linux 5.6); where the kernel or a seccomp filter does
// not have it (ENOSYS, EPERM), one openat(O_NOFOLLOW) per component does the same, more slowly.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::sys {

// What a path is, whatever it is called: two paths with equal identity are the same file, through bind mounts too.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  auto operator<=>(const FileId&) const = default;
};

inline FileId id_of(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}

struct BeneathOptions {
  bool cross_mounts = true;     // false: EXDEV at a mount point (RESOLVE_NO_XDEV)
  bool force_fallback = false;  // for tests of the slow way
};

// Opens `path` (relative, no "..", not empty) beneath `directory`. `flags` as for openat; O_CLOEXEC is added, and
// O_NOFOLLOW too. With O_PATH a symbolic link as the last component gives a descriptor of the link itself; everywhere
// else a link is an error. Returns the descriptor or the errno: ELOOP for a link, EXDEV for a path that leaves the
// directory or, without cross_mounts, its mount.
std::expected<UniqueFd, int> open_beneath(int directory, const std::string& path, int flags,
                                          const BeneathOptions& options = {});

// Opens an absolute, canonical directory path from "/" downwards, following no links: kPermissionDenied when one is in
// the way.
Result<UniqueFd> open_directory(const std::string& absolute);

// A directory as one walk from "/" reached it, through no link.
struct ReachedDirectory {
  UniqueFd fd;  // O_PATH
  // The directory's own identity, then those of all that it lies in, up to that of "/": what was opened, and not what
  // has these names by now.
  std::vector<FileId> chain;
  uid_t uid = 0;  // its owner
  gid_t gid = 0;
};
// As open_directory(); kPermissionDenied for a link on the way.
Result<ReachedDirectory> reach_directory(const std::string& absolute);

// Opens again what an O_PATH descriptor refers to: exactly that inode, never what has its name by now. Returns errno.
std::expected<UniqueFd, int> reopen(int path_fd, int flags);

}  // namespace mcpbox::sys
