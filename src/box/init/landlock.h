// Landlock for managed processes and for the unpacker (landlock(7)): file trees, TCP ports, signals and abstract
// sockets.
//
// Best effort by the kernel's ABI: what a kernel does not know is left out, and the ABI is reported to mcpbox, which
// decides whether that is good enough.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace mcpbox::box::init {

// 0 where the kernel has no Landlock or does not let us use it.
int landlock_abi();

struct LandlockRules {
  std::vector<std::string> read_write;  // everything beneath: also run, rename, truncate
  std::vector<std::string> read_only;   // everything beneath: read and run
  bool system = true;                   // the read-only system and the harmless devices
  // The process has its mounts and its network to itself: it may use /tmp, /dev/shm, terminals and every port.
  bool own_spaces = false;
  std::vector<std::uint16_t> connect_ports;
  std::vector<std::uint16_t> bind_ports;
};

// Confines the calling thread, which must have no_new_privs and the identity that may open the paths. Paths of `rules`
// that do not exist are an error. On failure `step` names the rule. Returns 0 or errno; 0 at once where there is no
// Landlock.
int apply_landlock(const LandlockRules& rules, std::string& step);
// Confines the calling thread to the directories behind these descriptors (-1 = none), without network.
int apply_landlock_to_directories(std::initializer_list<int> directories);

}  // namespace mcpbox::box::init
