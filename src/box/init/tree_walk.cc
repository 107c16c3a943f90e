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

constexpr int kTries = 3;  // whoever takes the right away as often as it is given does so on purpose

bool none_left(int error) {
  return error == EMFILE || error == ENFILE;
}

// False, and errno says why, where the mode is not for us to change.
bool let_in(int folder) {
  struct stat info{};
  if (::fstat(folder, &info) != 0) return false;
  return ::chmod(("/proc/self/fd/" + std::to_string(folder)).c_str(), (info.st_mode & 07777) | 0500) == 0;
}

// The mode is as it was when this returns: whoever may not read the folder now could give himself the right to.
// Invalid with EACCES in errno: somebody takes it again each time.
UniqueFd open_below(int parent, const char* name, bool force) {
  UniqueFd folder;
  for (int tries = 0; !folder && tries < kTries; ++tries) {
    folder.reset(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (folder || errno != EACCES || !force) return folder;
    UniqueFd place(::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!place) {
      if (errno != EACCES || !let_in(parent)) return folder;
      errno = EACCES;
      continue;
    }
    struct stat info{};
    if (::fstat(place.get(), &info) != 0 || !let_in(place.get())) return folder;
    folder.reset(::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const int error = errno;
    // Searching it is asked again for each name, so where that was missing it stays.
    const std::string self = "/proc/self/fd/" + std::to_string(place.get());
    if ((info.st_mode & 0100) != 0) ::chmod(self.c_str(), info.st_mode & 07777);
    errno = error;
    if (!folder && error != EACCES) return folder;
  }
  return folder;
}

}  // namespace

UniqueFd open_place(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

TreeWalk::TreeWalk(std::vector<std::string> folders, bool force, std::uint64_t since)
    : folders_(std::move(folders)), force_(force), since_(since) {}

bool TreeWalk::enter(UniqueFd folder) {
  if (!folder && none_left(errno)) starved_ = true;
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
  while (!starved_ && next_ < folders_.size()) {
    const UniqueFd place = open_place(folders_[next_++]);
    if (enter(place ? open_below(place.get(), ".", force_) : UniqueFd())) return true;
  }
  return false;
}

void TreeWalk::count(const char* name) {
  const int parent = ::dirfd(levels_.back().directory.get());
  struct statx info{};
  int error = 0;
  for (int tries = 0; tries <= kTries; ++tries) {
    const bool seen = ::statx(parent, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &info) == 0;
    error = seen ? 0 : errno;
    // Not for us to open: somebody else's, who hides nothing that this server wrote.
    if (error != EACCES || !force_ || (tries < kTries && !let_in(parent))) break;
    if (tries == kTries) return count_hidden();
  }
  if (error != 0) return;  // gone
  const auto bytes = info.stx_blocks * kBlock;
  const bool folder = S_ISDIR(info.stx_mode);
  const std::uint64_t part = !folder && info.stx_nlink > 1 ? bytes / info.stx_nlink : bytes;
  ++use_.files;
  use_.add(levels_.back().device, part);
  const std::uint64_t born = static_cast<std::uint64_t>(info.stx_btime.tv_sec) * 1'000'000'000 + info.stx_btime.tv_nsec;
  if ((info.stx_mask & STATX_BTIME) != 0 && born >= since_) {
    ++fresh_.files;
    fresh_.add(levels_.back().device, part);
  }
  if (!folder) return;
  if (levels_.size() >= kMaxDepth) return count_hidden();
  UniqueFd below = open_below(parent, name, force_);
  if (!below && errno == EACCES && force_) return count_hidden();
  enter(std::move(below));
}

bool TreeWalk::step(unsigned entries) {
  while (entries-- > 0) {
    if (starved_) return false;
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
