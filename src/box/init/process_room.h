// Processes and threads above a server's limit, which the kernel lets it have until PID 1 has counted them. A limit
// that PID 1 does not count (wire::Limits::processes alone) has no such room.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mcpbox::box::init {

// For the kernel a fork counts from its beginning, also one that fails (RLIMIT_NPROC, copy_creds() of kernel/cred.c,
// and pids.max). Of a crowd that forks without an end nearly all are in the midst of one: what can be counted comes to
// the limit late, and meanwhile every failing fork costs the machine as much as one that succeeds.
constexpr std::uint64_t with_room(std::uint64_t processes) {
  constexpr std::uint64_t kLeast = 8, kMost = 48;  // a sandbox has 96 for what is ours (box::kOwnProcesses)
  constexpr std::uint64_t kKernel = 4'194'302;     // pids.max, with two of ours
  return std::min(std::max(processes, kKernel), processes + std::clamp(processes / 8, kLeast, kMost));
}

}  // namespace mcpbox::box::init
