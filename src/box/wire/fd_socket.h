// One piece of a stream with descriptors (SCM_RIGHTS, unix(7)), as both ends of the supervisor link send and take it.
#pragma once

#include <sys/types.h>

#include <span>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box::wire {

// sendmsg(2) without waiting and without SIGPIPE. The descriptors (at most kMaxFds) go with the first byte: once
// anything was sent they are not to be sent again.
ssize_t send_with_fds(int socket, std::string_view bytes, const std::vector<UniqueFd>& fds);

struct ReceivedPiece {
  ssize_t size = -1;          // as recvmsg(2) returns it, errno included
  std::vector<UniqueFd> fds;  // close-on-exec
  bool fds_lost = false;      // more came than we take or have room for
};
// recvmsg(2) without waiting, of at most kMaxFds descriptors.
ReceivedPiece receive_with_fds(int socket, std::span<char> buffer);

}  // namespace mcpbox::box::wire
