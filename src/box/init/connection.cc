#include "box/init/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <chrono>

#include "box/wire/fd_socket.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxQueued = 8u << 20;
constexpr std::size_t kMaxPendingFds = 64;

}  // namespace

Connection::Connection(EventLoop& loop, UniqueFd socket, Handlers handlers)
    : loop_(loop), socket_(std::move(socket)), handlers_(std::move(handlers)) {
  update_watch();
}

Connection::~Connection() {
  *alive_ = false;
  loop_.unwatch(socket_.get());
}

void Connection::update_watch() {
  if (closed_) return;
  const unsigned events = EPOLLIN | (out_.empty() ? 0u : static_cast<unsigned>(EPOLLOUT));
  if (loop_.watch(socket_.get(), events, [this](unsigned ready) { on_ready(ready); }) != 0)
    close("the kernel cannot watch it");
}

void Connection::close(const char* why) {
  if (closed_) return;
  closed_ = true;
  loop_.unwatch(socket_.get());
  // The owner destroys us in this call, so it must not be made while one of our functions runs.
  loop_.defer([this, alive = alive_, why] {
    if (*alive) handlers_.closed(why);
  });
}

void Connection::on_ready(unsigned events) {
  if ((events & EPOLLOUT) != 0) {
    if (!write_some()) return close("it went away");
    update_watch();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
}

void Connection::receive() {
  char buffer[64 * 1024];
  wire::ReceivedPiece piece = wire::receive_with_fds(socket_.get(), buffer);
  if (piece.size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (piece.size <= 0) return close("it went away");
  for (UniqueFd& fd : piece.fds) received_fds_.push_back(std::move(fd));
  if (piece.fds_lost || received_fds_.size() > kMaxPendingFds) return close("it sent too many descriptors");
  reader_.feed(std::string_view(buffer, static_cast<std::size_t>(piece.size)));
  const auto alive = alive_;
  while (!closed_) {
    auto frame = reader_.next();
    if (!frame) return close("it sent something that is no frame");
    if (!*frame) return;
    if ((*frame)->fd_count > received_fds_.size()) return close("a frame lacks its descriptors");
    std::vector<UniqueFd> fds;
    for (unsigned i = 0; i < (*frame)->fd_count; ++i) {
      fds.push_back(std::move(received_fds_.front()));
      received_fds_.pop_front();
    }
    handlers_.frame(**frame, std::move(fds));
    if (!*alive) return;
  }
}

bool Connection::write_some() {
  while (!out_.empty()) {
    Outgoing& next = out_.front();
    const ssize_t sent = wire::send_with_fds(socket_.get(), std::string_view(next.bytes).substr(next.sent), next.fds);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    next.fds.clear();  // they went with the first byte
    next.sent += static_cast<std::size_t>(sent);
    queued_ -= static_cast<std::size_t>(sent);
    if (next.sent == next.bytes.size()) out_.pop_front();
  }
  return true;
}

void Connection::send(wire::MessageType type, std::uint64_t id, std::string_view payload, const std::vector<int>& fds) {
  if (closed_) return;
  auto bytes = wire::encode_frame(type, id, static_cast<std::uint16_t>(fds.size()), payload);
  if (!bytes) return close("a reply to it is too large");
  Outgoing outgoing{std::move(*bytes), 0, {}};
  for (const int fd : fds) {
    outgoing.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!outgoing.fds.back()) return close("no descriptors are left");
  }
  queued_ += outgoing.bytes.size();
  if (queued_ > kMaxQueued) return close("it does not read");
  out_.push_back(std::move(outgoing));
  if (!write_some()) return close("it went away");
  update_watch();
}

void Connection::flush() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (!out_.empty() && std::chrono::steady_clock::now() < until) {
    pollfd wait{socket_.get(), POLLOUT, 0};
    ::poll(&wait, 1, 100);
    if (!write_some()) return;
  }
}

}  // namespace mcpbox::box::init
