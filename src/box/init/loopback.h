// The loopback interface of the network namespace that the caller is in.
#pragma once

#include <cstdint>

#include "base/unique_fd.h"
#include "box/init/op.h"

namespace mcpbox::box::init {

Op<void> bring_loopback_up();
// A non-blocking listening socket on 127.0.0.1:port.
Op<UniqueFd> listen_on_loopback(std::uint16_t port);

}  // namespace mcpbox::box::init
