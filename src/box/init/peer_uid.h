// Who is at the other end of a loopback connection (sock_diag(7)).
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <optional>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

// Holds one netlink socket. The kernel looks up one connection for each query, so the cost does not grow with the
// number of connections; reading /proc/net/tcp would list them all.
class PeerUids {
 public:
  // Works in the network namespace and for the user namespace of the caller.
  static std::optional<PeerUids> open();
  // The uid that made the socket at `peer`, which is connected to `local`. Nothing when there is no such socket any
  // more, or nobody has it open: the kernel then names uid 0.
  std::optional<uid_t> find(const sockaddr_in& peer, const sockaddr_in& local);

 private:
  explicit PeerUids(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
  unsigned sequence_ = 0;
};

}  // namespace mcpbox::box::init
