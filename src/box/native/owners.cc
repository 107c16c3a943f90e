#include "box/native/owners.h"

#include <sys/stat.h>

#include "box/judged_mounts.h"

namespace mcpbox::box {

Result<std::vector<std::pair<uid_t, gid_t>>> owners_of(const SandboxSpec& spec) {
  std::vector<std::pair<uid_t, gid_t>> owners;
  for (const Mount& mount : spec.profile.mounts) {
    if (mount.kind != Mount::Kind::kBind) continue;
    if (mount.judged) {
      const auto reached = sys::reach_directory(mount.source);
      if (!reached || reached->chain.front() != *mount.judged) return fail(exchanged(mount.source));
      owners.emplace_back(reached->uid, reached->gid);
    } else if (struct stat info{}; ::stat(mount.source.c_str(), &info) == 0) {
      owners.emplace_back(info.st_uid, info.st_gid);
    }
  }
  return owners;
}

}  // namespace mcpbox::box
