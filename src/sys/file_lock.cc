#include "sys/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "sys/path_guard.h"

namespace mcpbox::sys {
namespace {

pid_t signed_by(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::array<char, 32> text{};
  const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  pid_t pid = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, pid);
  return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

}  // namespace

std::expected<FileLock, int> FileLock::take(const std::string& path, LockMode mode, LockWait wait) {
  const int how = (mode == LockMode::kShared ? LOCK_SH : LOCK_EX) | (wait == LockWait::kYes ? 0 : LOCK_NB);
  for (;;) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return std::unexpected(errno);
    while (::flock(file.get(), how) != 0) {
      if (errno != EINTR) return std::unexpected(errno);
    }
    struct stat held{}, named{};
    if (::fstat(file.get(), &held) != 0) return std::unexpected(errno);
    if (::lstat(path.c_str(), &named) == 0 && id_of(held) == id_of(named)) return FileLock(std::move(file), path);
  }
}

void FileLock::sign() const {
  const std::string text = fmt::format("{}\n", ::getpid());
  (void)!::ftruncate(file_.get(), 0);
  (void)!::pwrite(file_.get(), text.data(), text.size(), 0);
}

void FileLock::remove() {
  if (!file_) return;
  ::unlink(path_.c_str());
  file_.reset();
}

pid_t holder_of(const std::string& path) {
  for (int attempt = 0;; ++attempt) {
    if (const pid_t pid = signed_by(path); pid != 0 || attempt == 25) return pid;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace mcpbox::sys
