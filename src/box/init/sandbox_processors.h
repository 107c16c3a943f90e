// What the kernel says of the whole sandbox's use of the processors.
//
// A container sees the files of its own control group, read-only; PID 1 of a native sandbox has a descriptor where
// control groups can be had (server_groups.h). In other sandboxes nothing is known.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

// From cpuacct.usage (version 1) or cpu.stat (version 2).
std::optional<std::chrono::microseconds> parse_processor_time(bool second, const std::string& text);
// Thousandths of processors, from cpu.cfs_quota_us and cpu.cfs_period_us (version 1), or cpu.max twice (version 2);
// 0: no limit.
unsigned parse_processor_limit(const std::string& quota, const std::string& period);

class SandboxProcessors {
 public:
  // `usage`: a descriptor of cpuacct.usage or cpu.stat, which stays the caller's, and `limit` in thousandths (0: none
  // is known); -1: the container's own files are tried.
  SandboxProcessors(int usage, unsigned limit);
  // Of those that are not in its group, but its own: counted, too. A descriptor of cpuacct.usage, which stays the
  // caller's; -1: none.
  void add(int usage);
  // Used ever; 2 µs to ask.
  std::optional<std::chrono::microseconds> used() const;
  // Those that it may use, in thousandths.
  unsigned whole() const { return whole_; }
  // That the machine has for us, in thousandths.
  static unsigned present();

 private:
  UniqueFd usage_, apart_;
  bool second_ = false;
  unsigned whole_ = 0;
};

}  // namespace mcpbox::box::init
