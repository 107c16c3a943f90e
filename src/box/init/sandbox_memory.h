// What the kernel says of the whole sandbox's memory, or else what the machine's figures hint at.
//
// A container sees the files of its own control group, read-only: nothing can be waited for there, so they are read at
// each look of the accountant (microseconds). PID 1 of a native sandbox has the group's directory where there is one.
// Sandboxes of ordinary users have neither; there, shared memory and kernel memory of the whole machine that came while
// the sandbox was there and that no server is seen to have may be a server's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

struct GroupUse {
  std::uint64_t used = 0;   // without cached files, which the kernel gives back
  std::uint64_t limit = 0;  // 0: none
};

// From the texts of memory.usage_in_bytes, memory.limit_in_bytes and memory.stat (version 1), or memory.current,
// memory.max and memory.stat (version 2). Nothing: they cannot be read.
std::optional<GroupUse> parse_group_use(bool second, const std::string& usage, const std::string& limit,
                                        const std::string& stat);
// Of a group, below the directory `at` of another one; "." is that one.
std::optional<GroupUse> group_use(int at, const std::string& name);

// "Shmem" and "SUnreclaim" of proc_meminfo(5), in bytes.
std::optional<std::uint64_t> parse_machine_use(const std::string& meminfo);

class SandboxMemory {
 public:
  // `group`: a directory of the sandbox's group, or -1: its files are looked for where containers have them.
  explicit SandboxMemory(int group);
  std::optional<GroupUse> measured() const;
  // What the machine has more than when it was least, besides what servers are seen to share now.
  std::uint64_t unexplained(std::uint64_t shared);

 private:
  UniqueFd group_;
  std::optional<std::uint64_t> least_;
};

}  // namespace mcpbox::box::init
