// What /proc says of what one process does, read without allocating anything.
#pragma once

#include <sys/types.h>

#include <chrono>

namespace mcpbox::box::init {

struct Activity {
  std::chrono::microseconds used{0};    // user and system time of all its threads, in steps of the clock tick (10 ms)
  std::chrono::microseconds waited{0};  // of its children that ended and that it waited for, and of theirs
  bool runs = false;                    // its first thread runs, or waits for a processor
};
// `text` is that of /proc/PID/stat (proc_pid_stat(5)), which ends with NUL. False when it is no such text.
bool parse_activity(const char* text, Activity& activity);
// Of /proc/PID/status: whether SIGTERM does nothing to it. One that blocks it may wait for it (signalfd(2)).
bool parse_ignores_sigterm(const char* text);

// `proc` is a descriptor of /proc. False when the process is gone.
bool read_activity(int proc, pid_t pid, Activity& activity);
bool ignores_sigterm(int proc, pid_t pid);

}  // namespace mcpbox::box::init
