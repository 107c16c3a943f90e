// What PID 1 tells the egress relay: whose listeners it takes connections from.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

struct RelayOrder {
  enum class Kind : std::uint32_t {
    kServe = 1,  // comes with a listening socket; what connects there is `uid`'s
    kDrop = 2,   // the listener of that number; its connections stay
  };
  Kind kind = Kind::kServe;
  std::uint32_t number = 0;
  std::uint32_t uid = 0;
};

// One packet on a socket that keeps their bounds. False with errno: it was not taken.
bool send_order(int socket, const RelayOrder& order, int descriptor);

enum class Ordered : std::uint8_t { kOrder, kNothing, kEnd };
Ordered receive_order(int socket, RelayOrder& order, UniqueFd& descriptor);

}  // namespace mcpbox::box::init
