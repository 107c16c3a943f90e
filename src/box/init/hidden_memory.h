// The most that the kernel can have for processes besides what they have mapped, from what /proc shows of them.
//
// What is really there nobody says: shared memory that was given up (MADV_DONTNEED) or is no longer mapped as a whole,
// the descriptions of mappings, what lies in pipes and sockets. This is a bound for each, so that of what a sandbox has
// and nobody is seen to have can be said who can have it and who cannot.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>

namespace mcpbox::box::init {

class HiddenMemory {
 public:
  // A process, read by who may (close_look.h). One that cannot be read makes all of it unknown; one that has ended has
  // nothing.
  void process(int proc, pid_t pid);
  // There are more, which nobody looks at.
  void give_up() { known_ = false; }
  // `shared` of it is mapped.
  std::uint64_t bytes(std::uint64_t shared) const;
  bool known() const { return known_; }

  // A line of proc_pid_maps(5) of a process that once had `unmapped` bytes more than now.
  void mapping(const char* line, std::uint64_t unmapped);
  // What a link in /proc/PID/fd leads to.
  void descriptor(const char* target);

 private:
  bool read_mappings(int proc, pid_t pid);
  bool read_descriptors(int proc, pid_t pid);

  bool known_ = true;
  std::uint64_t mappings_ = 0;
  std::map<std::uint64_t, std::uint64_t> objects_;  // shared memory without a name, by inode: bytes
  std::set<std::uint64_t> pipes_, sockets_;         // inodes
};

}  // namespace mcpbox::box::init
