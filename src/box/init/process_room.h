// Processes and threads above a server's limit, which the kernel lets it have until PID 1 has counted them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mcpbox::box::init {

// For the kernel a fork counts from its beginning, also one that fails (RLIMIT_NPROC, copy_creds() of kernel/cred.c,
// and pids.max). Of a crowd that forks without an end nearly all are in the midst of one: what can be counted comes to
// the limit late, and meanwhile every failing fork costs the machine as much as one that succeeds.
constexpr std::uint64_t with_room(std::uint64_t processes) {
  constexpr std::uint64_t kLeast = 8;
  return processes + std::max(kLeast, processes / 8);
}

}  // namespace mcpbox::box::init
