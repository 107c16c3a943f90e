#include "box/link/supervisor_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "base/errno_error.h"
#include "box/wire/fd_socket.h"
#include "net/adopt.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kMaxQueued = 64u << 20;
constexpr std::size_t kReadSize = 64 * 1024;
// Frames of one turn of the loop; then others have theirs.
constexpr int kReadsPerTurn = 16;

Error lost_error(const char* why) {
  return Error(Code::kUnavailable, std::string("the supervisor of the sandbox is gone: ") + why);
}

}  // namespace

Result<UniqueFd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path;
  UniqueFd directory;
  if (name.size() >= sizeof address.sun_path) {
    const std::size_t slash = path.rfind('/');
    directory.reset(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return fail(errno_error(errno, "open the directory of the control socket '" + path + "'"));
    name = "/proc/self/fd/" + std::to_string(directory.get()) + path.substr(slash);
  }
  if (name.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalidArgument, "control socket '" + path + "': its name is too long");
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail(errno_error(errno, "make a socket"));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return socket;
  // A full backlog (EAGAIN) ends by itself as well.
  const int error = errno == EAGAIN ? ECONNREFUSED : errno;
  return fail(errno_error(error, "connect to the control socket '" + path + "'"));
}

SupervisorSocket::SupervisorSocket(boost::asio::any_io_executor executor, UniqueFd socket)
    : socket_(std::move(executor)) {
  net::adopt(socket_, std::move(socket));
}

void SupervisorSocket::start(Received received, Lost lost) {
  received_ = std::move(received);
  lost_ = std::move(lost);
  wait_for_input();
}

void SupervisorSocket::close() {
  received_ = nullptr;
  lost_ = nullptr;
  out_.clear();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void SupervisorSocket::lose(Error error) {
  auto lost = std::move(lost_);
  close();
  if (lost) lost(error);
}

void SupervisorSocket::wait_for_input() {
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (!error && self->socket_.is_open()) self->receive();
                     });
}

void SupervisorSocket::receive() {
  std::string buffer(kReadSize, '\0');
  for (int turn = 0; turn < kReadsPerTurn; ++turn) {
    wire::ReceivedPiece piece = wire::receive_with_fds(socket_.native_handle(), buffer);
    if (piece.size < 0 && errno == EINTR) continue;
    if (piece.size < 0 && errno == EAGAIN) break;
    if (piece.size < 0) return lose(lost_error(std::strerror(errno)));
    if (piece.size == 0)
      return lose(lost_error("it closed the connection (the sandbox ended, or another mcpbox took over)"));
    if (piece.fds_lost) return lose(lost_error("descriptors were lost; is the limit of open files reached?"));
    if (received_)
      received_(std::string_view(buffer.data(), static_cast<std::size_t>(piece.size)), std::move(piece.fds));
    if (!socket_.is_open()) return;
  }
  wait_for_input();
}

Result<void> SupervisorSocket::send(std::string bytes, std::vector<UniqueFd> fds) {
  if (!socket_.is_open()) return fail(lost_error("the connection is closed"));
  if (broken_) return fail(*broken_);
  if (queued_ + bytes.size() > kMaxQueued) {
    return fail(Code::kResourceExhausted, "the supervisor of the sandbox does not read its requests");
  }
  queued_ += bytes.size();
  out_.push_back({std::move(bytes), 0, std::move(fds)});
  if (!writing_ && write_some() && !out_.empty()) wait_for_room();
  if (broken_) return fail(*broken_);
  return {};
}

void SupervisorSocket::wait_for_room() {
  writing_ = true;
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->writing_ = false;
                       if (error || !self->socket_.is_open()) return;
                       if (self->write_some() && !self->out_.empty()) self->wait_for_room();
                     });
}

bool SupervisorSocket::write_some() {
  while (!out_.empty()) {
    Outgoing& next = out_.front();
    const ssize_t sent =
        wire::send_with_fds(socket_.native_handle(), std::string_view(next.bytes).substr(next.sent), next.fds);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return true;
    if (sent < 0) {
      const int why = errno;
      out_.clear();
      queued_ = 0;
      // The peer went: the reader finds out as well, and may first have to read why.
      if (why == EPIPE || why == ECONNRESET) return false;
      // The link itself is good (ETOOMANYREFS, ENOMEM), but the peer has lost a frame, or half of one. Whoever sends is
      // not to be told in the middle of it.
      broken_ =
          Error(Code::kUnavailable, std::string("cannot send to the supervisor of the sandbox: ") + std::strerror(why));
      boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->lose(*self->broken_); });
      return false;
    }
    next.fds.clear();
    next.sent += static_cast<std::size_t>(sent);
    queued_ -= static_cast<std::size_t>(sent);
    if (next.sent == next.bytes.size()) out_.pop_front();
  }
  return true;
}

}  // namespace mcpbox::box
