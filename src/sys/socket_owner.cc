#include "sys/socket_owner.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {
namespace {

bool is_ours(uid_t owner) {
  return owner == ::geteuid() || owner == 0;
}

}  // namespace

Result<void> check_socket_place(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) return {};
  if (!is_ours(status.st_uid)) {
    return fail(Code::kPermissionDenied,
                fmt::format("the folder {} belongs to user {}", printable(folder), status.st_uid));
  }
  const bool sticky = (status.st_mode & S_ISVTX) != 0;
  if ((status.st_mode & 022) != 0 && !sticky) {
    return fail(Code::kPermissionDenied, fmt::format("others may write the folder {} (chmod go-w)", printable(folder)));
  }
  if (::lstat(path.c_str(), &status) == 0 && !is_ours(status.st_uid))
    return fail(Code::kPermissionDenied, fmt::format("{} belongs to user {}", printable(path), status.st_uid));
  return {};
}

Result<void> check_socket_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return fail(errno_error(errno, "who serves the socket cannot be told"));
  if (is_ours(peer.uid)) return {};
  return fail(Code::kPermissionDenied, fmt::format("user {} serves it, in process {}", peer.uid, peer.pid));
}

}  // namespace mcpbox::sys
