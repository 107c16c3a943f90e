// Gives a descriptor to an Asio object.
#pragma once

#include <utility>

#include "base/unique_fd.h"

namespace mcpbox::net {

// `object` (asio::posix::stream_descriptor and its like) owns the descriptor from now on. Throws system_error when the
// loop cannot watch it (no memory, fs.epoll.max_user_watches), and closes it: a constructor that throws would leave it
// to nobody, and whoever writes to its other end would wait for ever.
template <class Object>
void adopt(Object& object, UniqueFd fd) {
  object.assign(fd.get());
  (void)fd.release();
}

}  // namespace mcpbox::net
