#include "app/compose/stdio_relay.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::app {
namespace {

constexpr std::size_t kRead = 256u << 10;

bool would_block(int number) {
  return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

}  // namespace

Result<UniqueFd> nonblocking_view(int fd, bool for_writing) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail(errno_error(errno, fmt::format("descriptor {}", fd)));
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    const std::string path = fmt::format("/proc/self/fd/{}", fd);
    UniqueFd view(::open(path.c_str(), (for_writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (view) return view;
    // Without /proc, or a pipe of another user's: the original will do; a slow reader then stops the relay as a whole.
  }
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail(errno_error(errno, fmt::format("descriptor {}", fd)));
  if (S_ISSOCK(status.st_mode)) ::fcntl(copy.get(), F_SETFL, ::fcntl(copy.get(), F_GETFL) | O_NONBLOCK);
  return copy;
}

StdioRelay::StdioRelay(RelayEnds ends, Events events)
    : events_(std::move(events)),
      client_in_(std::move(ends.client_in)),
      server_out_(std::move(ends.server_out)),
      server_err_(std::move(ends.server_err)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  client_out_.fd = std::move(ends.client_out);
  server_in_.fd = std::move(ends.server_in);
  log_.fd = std::move(ends.log);
  log_is_terminal_ = ::isatty(log_.fd.get()) == 1;
  for (const int fd : {server_out_.get(), server_err_.get(), server_in_.fd.get()}) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  buffer_.resize(kRead);
}

StdioRelay::~StdioRelay() = default;

void StdioRelay::abandon() {
  abandoned_ = true;
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void StdioRelay::run() {
  enum { kClientIn, kServerOut, kServerErr, kClientOut, kServerIn, kLog, kWake, kCount };
  while (!abandoned_ && (server_out_ || server_err_ || client_out_.waiting())) {
    std::array<pollfd, kCount> polled{};
    for (pollfd& entry : polled) entry.fd = -1;
    const auto watch = [&](int index, int fd, short events) {
      polled[static_cast<std::size_t>(index)] = {fd, events, 0};
    };
    if (client_in_ && !server_in_.full()) watch(kClientIn, client_in_.get(), POLLIN);
    if (server_out_ && !client_out_.full() && !log_.full()) watch(kServerOut, server_out_.get(), POLLIN);
    if (server_err_ && !log_.full()) watch(kServerErr, server_err_.get(), POLLIN);
    // Without events, poll still tells that the reader is gone.
    if (!client_out_.broken) watch(kClientOut, client_out_.fd.get(), client_out_.waiting() ? POLLOUT : 0);
    if (server_in_.waiting()) watch(kServerIn, server_in_.fd.get(), POLLOUT);
    if (log_.waiting()) watch(kLog, log_.fd.get(), POLLOUT);
    watch(kWake, wake_.get(), POLLIN);
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    const auto ready = [&](int index) { return polled[static_cast<std::size_t>(index)].revents != 0; };
    if (ready(kServerOut)) read_server();
    if (ready(kClientIn)) read_client();
    if (ready(kServerErr)) read_server_err();
    if (ready(kClientOut)) {
      flush(client_out_);
      // A pipe without a reader gives POLLERR, a socket whose peer is closed POLLHUP.
      if ((polled[kClientOut].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) client_out_.broken = true;
    }
    if (ready(kServerIn)) flush(server_in_);
    if (ready(kLog)) flush(log_);
    if (client_input_ended_ && server_in_.fd && !server_in_.waiting()) close_server_in();
    if (client_out_.broken && !client_gone_told_) {
      client_gone_told_ = true;
      if (events_.client_gone) events_.client_gone();
    }
    in_flight_.store(filter_.in_flight(), std::memory_order_relaxed);
  }
  if (!abandoned_) drain(log_);
}

void StdioRelay::read_client() {
  const ssize_t size = ::read(client_in_.get(), buffer_.data(), buffer_.size());
  if (size < 0 && would_block(errno)) return;
  if (size <= 0) {
    client_in_.reset();
    client_input_ended_ = true;
    return;
  }
  const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
  filter_.from_client(bytes);
  write_text(server_in_, bytes);
}

void StdioRelay::close_server_in() {
  server_in_.fd.reset();
  server_in_.broken = true;
  if (events_.client_closed) events_.client_closed();
}

void StdioRelay::read_server() {
  const ssize_t size = ::read(server_out_.get(), buffer_.data(), buffer_.size());
  if (size < 0 && would_block(errno)) return;
  const bool ended = size <= 0;
  const mcp::StdioFilter::Pieces& pieces =
      ended ? filter_.server_ended() : filter_.from_server({buffer_.data(), static_cast<std::size_t>(size)});
  write_pieces(client_out_, pieces.client);
  for (const std::string_view piece : pieces.noise) write_log_bytes(piece);
  if (ended) server_out_.reset();
}

void StdioRelay::read_server_err() {
  const ssize_t size = ::read(server_err_.get(), buffer_.data(), buffer_.size());
  if (size < 0 && would_block(errno)) return;
  if (size <= 0) {
    server_err_.reset();
    if (!log_partial_.empty()) write_log_line(std::exchange(log_partial_, {}));
    return;
  }
  write_log_bytes({buffer_.data(), static_cast<std::size_t>(size)});
}

// On a terminal nothing of the server's may act on it; a file or a pipe gets the bytes as they are.
void StdioRelay::write_log_bytes(std::string_view bytes) {
  if (!log_is_terminal_) {
    write_text(log_, bytes);
    return;
  }
  constexpr std::size_t kMaxLine = 16u << 10;
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    log_partial_.append(bytes.substr(0, newline));
    if (newline == std::string_view::npos && log_partial_.size() < kMaxLine) return;
    write_log_line(std::exchange(log_partial_, {}));
    bytes.remove_prefix(newline == std::string_view::npos ? bytes.size() : newline + 1);
  }
}

void StdioRelay::write_log_line(std::string_view line) {
  if (log_is_terminal_) {
    write_text(log_, printable(line, 16u << 10) + "\n");
  } else {
    write_text(log_, line);
    write_text(log_, "\n");
  }
}

void StdioRelay::write_pieces(Outlet& outlet, const std::vector<std::string_view>& pieces) {
  std::size_t next = 0;
  std::size_t offset = 0;  // of pieces[next] that was written
  while (!outlet.waiting() && !outlet.broken && next < pieces.size()) {
    std::array<iovec, 64> vectors{};
    std::size_t count = 0;
    for (std::size_t i = next; i < pieces.size() && count < vectors.size(); ++i, ++count) {
      const std::string_view piece = i == next ? pieces[i].substr(offset) : pieces[i];
      vectors[count] = {const_cast<char*>(piece.data()), piece.size()};
    }
    const ssize_t written = ::writev(outlet.fd.get(), vectors.data(), static_cast<int>(count));
    if (written < 0) {
      if (errno == EINTR) continue;
      if (!would_block(errno)) outlet.break_with(errno);
      break;
    }
    auto left = static_cast<std::size_t>(written);
    while (left > 0) {
      const std::size_t rest = pieces[next].size() - offset;
      if (left < rest) {
        offset += left;
        break;
      }
      left -= rest;
      offset = 0;
      ++next;
    }
  }
  if (outlet.broken) return;
  for (; next < pieces.size(); ++next, offset = 0) outlet.pending.append(pieces[next].substr(offset));
}

void StdioRelay::write_text(Outlet& outlet, std::string_view text) {
  if (outlet.broken) return;
  if (!outlet.waiting()) {
    const ssize_t written = ::write(outlet.fd.get(), text.data(), text.size());
    if (written < 0 && !would_block(errno)) {
      outlet.break_with(errno);
      return;
    }
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
  outlet.pending.append(text);
}

void StdioRelay::flush(Outlet& outlet) {
  if (!outlet.waiting()) return;
  const ssize_t written =
      ::write(outlet.fd.get(), outlet.pending.data() + outlet.sent, outlet.pending.size() - outlet.sent);
  if (written < 0) {
    if (!would_block(errno)) outlet.break_with(errno);
    return;
  }
  outlet.sent += static_cast<std::size_t>(written);
  if (outlet.sent == outlet.pending.size()) {
    outlet.pending.clear();
    outlet.sent = 0;
  } else if (outlet.sent > (256u << 10)) {
    outlet.pending.erase(0, outlet.sent);
    outlet.sent = 0;
  }
}

void StdioRelay::fail_pending(std::string_view message) {
  write_text(client_out_, filter_.take_error_replies(message));
  drain(client_out_);
}

void StdioRelay::drain(Outlet& outlet) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (outlet.waiting() && std::chrono::steady_clock::now() < deadline) {
    pollfd polled{outlet.fd.get(), POLLOUT, 0};
    ::poll(&polled, 1, 200);
    flush(outlet);
  }
}

}  // namespace mcpbox::app
