// Part of project_quota.h: how the kernel is asked.
#include <fmt/format.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/errno_error.h"
#include "box/native/project_quota.h"

namespace mcpbox::box {
namespace {

constexpr long kQuotactlFd = 443;  // the same on every architecture, and newer than some headers

long quotactl_fd(int at, unsigned command, std::uint32_t id, void* data) {
  return ::syscall(kQuotactlFd, at, QCMD(command, PRJQUOTA), id, data);
}

// What lies in between the two is the same.
template <class Block>
ProjectUse use_of(std::uint32_t id, const Block& block) {
  return {
      id, block.dqb_curspace, block.dqb_curinodes,
      block.dqb_bhardlimit != 0 || block.dqb_bsoftlimit != 0 || block.dqb_ihardlimit != 0 || block.dqb_isoftlimit != 0};
}

class KernelQuotas final : public QuotaCalls {
 public:
  Result<bool> enforced(int at) const override {
    fs_quota_statv state{};
    state.qs_version = FS_QSTATV_VERSION1;
    if (quotactl_fd(at, Q_XGETQSTATV, 0, &state) != 0) {
      if (errno == ENOSYS || errno == EINVAL || errno == ENODEV || errno == ENOTBLK)
        return fail(Code::kUnsupported, "there are no quotas here");
      return fail(errno_error(errno, "project quotas"));
    }
    return (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0;
  }

  Result<FolderProject> project(int at) const override {
    fsxattr attributes{};
    if (::ioctl(at, FS_IOC_FSGETXATTR, &attributes) != 0) return fail(errno_error(errno, "cannot read a project"));
    return FolderProject{attributes.fsx_projid, (attributes.fsx_xflags & FS_XFLAG_PROJINHERIT) != 0};
  }

  Result<void> set_project(int at, FolderProject project) const override {
    fsxattr attributes{};
    if (::ioctl(at, FS_IOC_FSGETXATTR, &attributes) != 0) return fail(errno_error(errno, "cannot read a project"));
    attributes.fsx_projid = project.id;
    attributes.fsx_xflags &= ~static_cast<unsigned>(FS_XFLAG_PROJINHERIT);
    if (project.inherited) attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    if (::ioctl(at, FS_IOC_FSSETXATTR, &attributes) != 0)
      return fail(errno_error(errno, fmt::format("cannot set project {}", project.id)));
    return {};
  }

  Result<ProjectUse> use(int at, std::uint32_t id) const override {
    if_dqblk block{};
    if (quotactl_fd(at, Q_GETQUOTA, id, &block) == 0) return use_of(id, block);
    if (errno == ENOENT) return ProjectUse{id};  // XFS, of one that nobody has ever had
    return fail(errno_error(errno, fmt::format("cannot read the use of project {}", id)));
  }

  Result<std::optional<ProjectUse>> next(int at, std::uint32_t id) const override {
    if_nextdqblk block{};
    if (quotactl_fd(at, Q_GETNEXTQUOTA, id, &block) == 0) return use_of(block.dqb_id, block);
    if (errno == ENOENT || errno == ESRCH) return std::nullopt;
    return fail(errno_error(errno, "cannot list projects"));
  }

  Result<void> limit(int at, std::uint32_t id, std::uint64_t bytes, std::uint64_t files) const override {
    if_dqblk block{};
    block.dqb_bhardlimit = (bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE;
    block.dqb_ihardlimit = files;
    block.dqb_valid = QIF_LIMITS;
    if (quotactl_fd(at, Q_SETQUOTA, id, &block) != 0)
      return fail(errno_error(errno, fmt::format("cannot limit project {}", id)));
    return {};
  }
};

}  // namespace

const QuotaCalls& kernel_quotas() {
  static const KernelQuotas calls;
  return calls;
}

}  // namespace mcpbox::box
