// What is mounted where on this machine, and where something lies in its own file system: two names of one folder, of
// which one is a bind mount, are one place there, and so are two folders of which one lies in the other.
//
// Of /proc/self/mountinfo (proc_pid_mountinfo(5)). Comparable are places of one file system as the kernel counts them
// (major:minor): subvolumes of btrfs are one, counted from its top level. Not comparable: what an overlay was put
// together of, a snapshot, a file system on top of another (FUSE), a share that was mounted twice as two.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/path_guard.h"

namespace mcpbox::workspace {

struct FsPlace {
  dev_t device = 0;  // of the file system: on btrfs not what stat(2) says
  std::string path;  // from its root
};

// Whether `place` is `other` or lies in it, by whole components.
bool is_beneath(const FsPlace& place, const FsPlace& other);

struct Mount {
  std::uint64_t id = 0;
  FsPlace shows;   // what of the file system it shows
  std::string at;  // its mount point
};

class MountTable {
 public:
  // kResourceExhausted for more than 64 MiB; else the errno of opening or reading /proc/self/mountinfo.
  static Result<MountTable> read();
  // What is no line of mountinfo, or shows no path (namespaces: "net:[4026531840]"), is left out.
  explicit MountTable(std::string_view mountinfo);

  const std::vector<Mount>& mounts() const { return mounts_; }
  // Where the absolute path without links lies, in the mount that the kernel names for it (statx(2), Linux 5.8);
  // without one (0) in the last of those with the longest mount point above it. Nothing when it lies in none of them.
  std::optional<FsPlace> locate(const std::string& path, std::uint64_t mount) const;

 private:
  std::vector<Mount> mounts_;
};

// A file or folder as it was opened.
struct Opened {
  sys::FileId id;
  std::string path;         // its name by now, without links; empty when it cannot be told
  std::uint64_t mount = 0;  // MountTable's id; 0 when the kernel does not say
};
// `fd` may be one of O_PATH. Errno.
std::expected<Opened, int> look_at(int fd);
// What `path` leads to.
std::expected<Opened, int> look_at(const std::string& path);

}  // namespace mcpbox::workspace
