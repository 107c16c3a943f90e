#include "sys/unix_listener.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {
namespace {

constexpr std::size_t kMaxPath = sizeof(sockaddr_un{}.sun_path) - 1;  // unix(7)

std::string lock_path(const std::string& path) {
  return path + ".lock";
}

std::expected<FileLock, int> take_lock(const std::string& path, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto lock = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
    if (lock || lock.error() != EWOULDBLOCK || std::chrono::steady_clock::now() >= until) return lock;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// `path` is at most kMaxPath bytes long.
sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, kMaxPath);
  return address;
}

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// The process that made it listen, 0 where the kernel does not say; nothing when nobody listens. EAGAIN is a listener
// whose backlog is full. An error when that cannot be told.
Result<std::optional<pid_t>> listens(const std::string& path) {
  const UniqueFd probe = new_socket();
  const sockaddr_un address = address_of(path);
  if (!probe || ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (probe && errno == EAGAIN) return std::optional<pid_t>(0);
    if (probe && (errno == ECONNREFUSED || errno == ENOENT)) return std::nullopt;
    return fail(errno_error(errno, fmt::format("cannot tell whether anybody listens on {}", printable(path))));
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

std::unexpected<Error> served(const std::string& path, pid_t by) {
  const std::string who = by > 0 ? fmt::format("process {}", by) : "another process";
  return fail(Code::kAlreadyExists, fmt::format("{} serves {} already", who, printable(path)));
}

// The lock is held: what is there was left by somebody who ended without removing it, unless it answers.
Result<void> clear_the_way(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return fail(Code::kFailedPrecondition, fmt::format("{} exists and is no socket; move it away", printable(path)));
  const auto by = listens(path);
  if (!by) return fail(by.error());
  if (*by) return served(path, by->value_or(0));  // 0: who it is cannot be told
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail(errno_error(errno, fmt::format("cannot remove the old socket {}", printable(path))));
  return {};
}

// The mode that bind() gives the name is that of the socket, less the umask. So it is never wider than asked, without
// touching the umask, which threads share.
Result<FileId> bind_to(int socket, const std::string& path, mode_t mode) {
  const auto failed = [&](int number) {
    return fail(errno_error(number, fmt::format("cannot listen on {}", printable(path))));
  };
  const sockaddr_un address = address_of(path);
  if (::fchmod(socket, mode) != 0) return failed(errno);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return failed(errno);
  struct stat status{};
  const bool good = ::lstat(path.c_str(), &status) == 0 &&
                    ((status.st_mode & 07777) == mode || ::chmod(path.c_str(), mode) == 0) &&
                    ::listen(socket, SOMAXCONN) == 0;
  if (good) return id_of(status);
  const int number = errno;
  ::unlink(path.c_str());
  return failed(number);
}

}  // namespace

Result<UnixListener> UnixListener::listen(const ListenOptions& options) {
  const std::string& path = options.path;
  if (path.empty() || path.size() > kMaxPath) {
    return fail(Code::kInvalidArgument, fmt::format("the socket path '{}' has {} bytes; it must have 1 to {}",
                                                    printable(path, 300), path.size(), kMaxPath));
  }
  auto lock = take_lock(lock_path(path), options.patience);
  if (!lock && lock.error() == EWOULDBLOCK) return served(path, holder_of(lock_path(path)));
  if (!lock) return fail(errno_error(lock.error(), fmt::format("cannot lock {}", printable(lock_path(path)))));
  lock->sign();
  auto done = clear_the_way(path);
  UniqueFd socket = done ? new_socket() : UniqueFd();
  if (done && !socket) done = fail(errno_error(errno, "cannot make a socket"));
  auto bound = done ? bind_to(socket.get(), path, options.mode) : Result<FileId>(fail(std::move(done).error()));
  if (!bound) {
    lock->remove();
    return fail(std::move(bound).error());
  }
  UnixListener listener;
  listener.lock_ = std::move(*lock);
  listener.path_ = path;
  listener.bound_ = *bound;
  listener.socket_ = std::move(socket);
  return listener;
}

void UnixListener::remove() {
  if (!lock_) return;
  struct stat status{};
  if (::lstat(path_.c_str(), &status) == 0 && id_of(status) == bound_) ::unlink(path_.c_str());
  lock_.remove();
}

bool remove_stale_socket(const std::string& path, std::chrono::milliseconds patience) {
  if (path.empty() || path.size() > kMaxPath) return false;
  auto lock = take_lock(lock_path(path), patience);
  if (!lock) return false;
  const bool removed = clear_the_way(path).has_value();
  lock->remove();
  return removed;
}

}  // namespace mcpbox::sys
