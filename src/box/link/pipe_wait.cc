#include "box/link/pipe_wait.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/errno_error.h"

namespace mcpbox::box {

using Clock = std::chrono::steady_clock;

PipeWait::PipeWait(std::chrono::milliseconds timeout)
    : deadline_(Clock::now() + timeout), stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void PipeWait::stop() {
  const std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
}

Result<void> PipeWait::wait(int fd, short events, std::string_view what) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd polled[] = {{fd, events, 0}, {stop_.get(), POLLIN, 0}};
    const int ready = ::poll(polled, 2, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail(errno_error(errno, std::string(what)));
    if (polled[0].revents != 0) return {};
    if (polled[1].revents != 0) return fail(Code::kUnavailable, fmt::format("{}: the sandbox ended it", what));
    if (Clock::now() >= deadline_) return fail(Code::kTimeout, fmt::format("{}: it was not done in time", what));
  }
}

Result<void> PipeWait::write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      if (auto ready = wait(fd, POLLOUT, what); !ready) return ready;
      continue;
    }
    if (written < 0) return fail(errno_error(errno, std::string(what)));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::size_t> PipeWait::read_some(int fd, char* buffer, std::size_t size, std::string_view what) {
  for (;;) {
    const ssize_t got = ::read(fd, buffer, size);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(errno_error(errno, std::string(what)));
    if (auto ready = wait(fd, POLLIN, what); !ready) return fail(std::move(ready).error());
  }
}

}  // namespace mcpbox::box
