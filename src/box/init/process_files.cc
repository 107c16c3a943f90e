#include "box/init/process_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/unique_fd.h"
#include "box/init/one_id.h"

namespace mcpbox::box::init {
namespace {

std::uint64_t written_by(int processes, const std::string& pid) {
  UniqueFd io(::openat(processes, (pid + "/io").c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t got = io ? ::read(io.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return 0;
  text[got] = '\0';
  constexpr const char* kName = "\nwrite_bytes:";
  const char* found = ::strstr(text, kName);
  return found == nullptr ? 0 : ::strtoull(found + ::strlen(kName), nullptr, 10);
}

}  // namespace

ProcessFiles::ProcessFiles(uid_t uid, std::vector<dev_t> devices)
    : uid_(uid), devices_(std::move(devices)), processes_(::opendir("/proc")) {}

void ProcessFiles::enter(const char* pid) {
  const int number = pid[0] > '0' && pid[0] <= '9' ? ::atoi(pid) : 0;
  if (number <= 1 || (one_id() && !is_user_there(number, uid_))) return;
  const int processes = ::dirfd(processes_.get());
  const std::string name = pid;
  UniqueFd folder(::openat(processes, (name + "/fd").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return;
  descriptors_.reset(::fdopendir(folder.get()));
  if (descriptors_) (void)folder.release();
  wrote_ += written_by(processes, name);
}

void ProcessFiles::count(const char* descriptor) {
  struct statx info{};
  // A server of files that hangs is not asked.
  if (::statx(::dirfd(descriptors_.get()), descriptor, AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &info) != 0) return;
  if (!S_ISREG(info.stx_mode) || info.stx_nlink != 0 || seen_.size() >= kMostFiles) return;
  const dev_t device = makedev(info.stx_dev_major, info.stx_dev_minor);
  if (std::ranges::find(devices_, device) == devices_.end() || !seen_.emplace(device, info.stx_ino).second) return;
  ++use_.files;
  use_.add(device, info.stx_blocks * 512);
}

bool ProcessFiles::step(unsigned entries) {
  while (processes_ && entries-- > 0) {
    if (descriptors_) {
      const dirent* entry = ::readdir(descriptors_.get());
      if (entry == nullptr) {
        descriptors_.reset();
      } else if (entry->d_name[0] != '.') {
        count(entry->d_name);
      }
      continue;
    }
    const dirent* entry = ::readdir(processes_.get());
    if (entry == nullptr) return false;
    enter(entry->d_name);
  }
  return processes_ != nullptr;
}

}  // namespace mcpbox::box::init
