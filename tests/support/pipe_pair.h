// Both ends of a pipe or of a socket pair, closed on exec.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "base/unique_fd.h"

namespace mcpbox::test {

struct PipePair {
  UniqueFd read;
  UniqueFd write;
  explicit PipePair(int flags = 0) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | flags) != 0) throw std::runtime_error("pipe2");
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
};

struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
  SocketPair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
  }
};

}  // namespace mcpbox::test
