// What /proc says of one process, read without allocating anything: it is read ten times a second for every process.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

// Of /proc/PID/status (proc_pid_status(5)). Everybody may read it, whatever the process does.
struct ProcStatus {
  uid_t uid = 0;              // real
  std::uint64_t swapped = 0;  // bytes that are in swap
  std::uint64_t shared = 0;   // bytes of shared memory that it has mapped
  std::uint64_t tables = 0;   // bytes of page tables: they can be made large without touching any memory
  std::uint64_t threads = 1;
  std::uint64_t number = 0;  // its own in the PID namespace that it is in, where that is below the reader's; else 0
};
// `text` ends with NUL. False when it is no such text.
bool parse_status(const char* text, ProcStatus& status);

// Of /proc/PID/statm: what changes fast, for a tenth of the price where the file stays open.
struct ProcPages {
  std::uint64_t resident = 0, shared = 0;  // bytes; `shared` are those of files and of shared memory
};
bool parse_pages(const char* text, ProcPages& pages);

// `proc` is a descriptor of /proc. False when the process is gone.
bool read_status(int proc, pid_t pid, ProcStatus& status);
// The file is of this process, also when its number is another's.
UniqueFd open_pages(int proc, pid_t pid);
bool read_pages(int statm, ProcPages& pages);

}  // namespace mcpbox::box::init
