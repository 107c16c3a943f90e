// An owned file descriptor, closed when it goes out of scope. Header-only: mcpbox-init uses it too.
#pragma once

#include <errno.h>
#include <unistd.h>

#include <utility>

namespace mcpbox {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  // Closes without retrying on EINTR: Linux has released the number by then (close(2), NOTES).
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  // Closes what was written to: some file systems tell only now that it could not be stored. Returns 0 or errno.
  [[nodiscard]] int close() { return ::close(release()) == 0 ? 0 : errno; }

 private:
  int fd_ = -1;
};

}  // namespace mcpbox
