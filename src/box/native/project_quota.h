// Hard limits of the file system on all that lies below a folder: the project quotas of ext4 and XFS (quotactl(2)).
//
// A folder of ours carries the number of a project, and what is made in it inherits that. Whose a number is stands
// nowhere else: it is taken as long as an inode carries it, so that other instances and programs need not be known. Who
// wants one puts it on its folder, and has it if that is then the only inode with it. Two who want the same one see
// each other, and both take another. A limit that no inode uses is left over; who takes it away holds the number while
// doing so.
//
// Only root of the first user namespace may change a project or a limit: no server in a user namespace can. Needs
// quotactl_fd(2), Linux 5.14. All functions block.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::box {

struct FolderProject {
  std::uint32_t id = 0;
  bool inherited = false;  // by what is made in the folder
  bool operator==(const FolderProject&) const = default;
};

struct ProjectUse {
  std::uint32_t id = 0;
  std::uint64_t bytes = 0, files = 0;  // files are inodes
  bool limited = false;
};

// What the kernel is asked, of the file system on which the open folder or file `at` lies.
class QuotaCalls {
 public:
  virtual ~QuotaCalls() = default;
  // Whether limits of projects hold. kUnsupported: the kernel or the file system knows no quotas.
  virtual Result<bool> enforced(int at) const = 0;
  virtual Result<FolderProject> project(int at) const = 0;
  virtual Result<void> set_project(int at, FolderProject project) const = 0;
  virtual Result<ProjectUse> use(int at, std::uint32_t id) const = 0;
  // The first project from `id` on that is used or limited.
  virtual Result<std::optional<ProjectUse>> next(int at, std::uint32_t id) const = 0;
  // 0 = none.
  virtual Result<void> limit(int at, std::uint32_t id, std::uint64_t bytes, std::uint64_t files) const = 0;
};
const QuotaCalls& kernel_quotas();

// The project of the folders, which are one server's, on one file system and written by nobody now: the one that the
// first has, or a free one, `wish` if that is free. It has no limit then, and carries all that is below them.
// kFailedPrecondition: a folder has somebody else's project already, whose limits are to go on holding.
Result<std::uint32_t> claim_project(const QuotaCalls& calls, const std::vector<UniqueFd>& folders, std::uint32_t wish);

// What lies in the folder, but for what is called `names`.
Result<ProjectUse> use_beside(int folder, const std::vector<std::string>& names);

// Takes away the limits of ours that nobody uses any more. `folder` is a path of ours, in which a folder is made for a
// moment.
Result<void> drop_unused_limits(const QuotaCalls& calls, const std::string& folder);

// For people: whether and how limits of disk hold below `folder`, which need not be there yet.
std::string describe_disk_limits(const QuotaCalls& calls, const std::string& folder, bool root);

}  // namespace mcpbox::box
