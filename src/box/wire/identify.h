// Which files stand at some places of a sandbox: what is mounted there, as PID 1 sees it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "box/wire/messages.h"

namespace mcpbox::box::wire {

struct Identify {
  static constexpr auto kType = MessageType::kIdentify;
  std::vector<std::string> paths;
  bool operator==(const Identify&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.paths);
  }
};
// st_dev and st_ino of stat(2); with an `error` (errno) they say nothing.
struct Identity {
  std::uint64_t device = 0, inode = 0;
  std::int32_t error = 0;
  bool operator==(const Identity&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.device), v(s.inode), v(s.error);
  }
};
struct IdentifyReply {
  std::vector<Identity> found;  // one for each path
  bool operator==(const IdentifyReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.found);
  }
};

}  // namespace mcpbox::box::wire
