// Tells whether the sandbox's memory limit has killed something lately.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace mcpbox::box::init {

// Watches the sandbox's own oom_kill counter: memory.events of cgroup v2 or memory.oom_control of v1 (cgroups(7)). The
// counter does not say who was killed; a SIGKILL that we did not send, within two seconds of a rise, is taken to be
// explained by it.
class MemoryEvents {
 public:
  MemoryEvents() { sample(); }
  // Call whenever a process starts or ends.
  void sample();
  bool killed_lately() const;

 private:
  std::optional<std::uint64_t> count_;
  std::optional<std::chrono::steady_clock::time_point> rose_;
};

}  // namespace mcpbox::box::init
