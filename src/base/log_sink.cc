#include "base/log_sink.h"

#include <errno.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace mcpbox::log {
namespace {

// For a reader who is only busy. Once one line was left out nobody waits any more.
constexpr int kPatienceMs = 20;

}  // namespace

void LineSink::line(std::string_view text) {
  const int patience = missed_ == 0 && rest_.empty() ? kPatienceMs : 0;
  if (!rest_.empty()) rest_.erase(0, put(rest_, patience));
  if (rest_.empty() && missed_ > 0) {
    rest_ = fmt::format("{} lines of the log were left out here: nobody read it\n", missed_);
    const std::size_t taken = put(rest_, patience);
    if (taken > 0) missed_ = 0;
    rest_.erase(0, taken > 0 ? taken : rest_.size());
  }
  if (!rest_.empty() || missed_ > 0) {
    ++missed_;
    return;
  }
  const std::size_t taken = put(text, patience);
  if (taken == 0) ++missed_;
  if (taken > 0) rest_ = text.substr(taken);
}

std::size_t LineSink::put(std::string_view text, int patience_ms) const {
  std::size_t done = 0;
  while (done < text.size()) {
    pollfd room{fd_, POLLOUT, 0};
    const int ready = ::poll(&room, 1, patience_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return done;
    // What poll(2) calls writable takes this much of a pipe at once (pipe(7)); a socket can be asked not to wait.
    const std::string_view piece = text.substr(done, PIPE_BUF);
    ssize_t written = ::send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written < 0 && errno == ENOTSOCK) written = ::write(fd_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return done;
    if (written < 0) return text.size();  // the reader is gone for good, or the disk is full: nobody can be told
    done += static_cast<std::size_t>(written);
  }
  return done;
}

}  // namespace mcpbox::log
