#include "box/init/tree_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace mcpbox::box::init {
namespace {

constexpr std::uint64_t kBlock = 512;  // of st_blocks

// The mode is as it was when this returns: whoever may not read the folder now could give himself the right to.
UniqueFd open_below(int parent, const char* name, bool force) {
  UniqueFd folder(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder || errno != EACCES || !force) return folder;
  UniqueFd place(::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!place || ::fstat(place.get(), &info) != 0) return folder;
  const std::string self = "/proc/self/fd/" + std::to_string(place.get());
  if (::chmod(self.c_str(), (info.st_mode & 07777) | 0500) != 0) return folder;
  folder.reset(::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Searching it is asked again for each name, so where that was missing it stays.
  if ((info.st_mode & 0100) != 0) ::chmod(self.c_str(), info.st_mode & 07777);
  return folder;
}

}  // namespace

UniqueFd open_folder(const std::string& path, bool force) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd place(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  return place ? open_below(place.get(), ".", force) : UniqueFd();
}

TreeWalk::TreeWalk(std::vector<std::string> folders, bool force) : folders_(std::move(folders)), force_(force) {}

bool TreeWalk::enter(UniqueFd folder) {
  struct stat info{};
  if (!folder || ::fstat(folder.get(), &info) != 0) return false;
  if (!levels_.empty() && info.st_dev != levels_.back().device) return false;
  DIR* directory = ::fdopendir(folder.get());
  if (directory == nullptr) return false;
  (void)folder.release();  // it is the directory's now
  levels_.push_back({std::unique_ptr<DIR, Closer>(directory), info.st_dev});
  return true;
}

bool TreeWalk::next_folder() {
  while (next_ < folders_.size()) {
    if (enter(open_folder(folders_[next_++], force_))) return true;
  }
  return false;
}

void TreeWalk::count(const char* name) {
  const int parent = ::dirfd(levels_.back().directory.get());
  struct stat info{};
  if (::fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;  // gone
  ++use_.files;
  const auto bytes = static_cast<std::uint64_t>(info.st_blocks) * kBlock;
  if (!S_ISDIR(info.st_mode)) {
    use_.bytes += info.st_nlink > 1 ? bytes / info.st_nlink : bytes;
    return;
  }
  use_.bytes += bytes;
  if (levels_.size() >= kMaxDepth) {
    use_.files += kTooDeep;
  } else {
    enter(open_below(parent, name, force_));
  }
}

bool TreeWalk::step(unsigned entries) {
  while (entries-- > 0) {
    if (levels_.empty() && !next_folder()) return false;
    const dirent* entry = ::readdir(levels_.back().directory.get());
    if (entry == nullptr) {
      levels_.pop_back();
    } else if (::strcmp(entry->d_name, ".") != 0 && ::strcmp(entry->d_name, "..") != 0) {
      count(entry->d_name);
    }
  }
  return true;
}

}  // namespace mcpbox::box::init
