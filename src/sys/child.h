// Starts helper programs on the host: options describe, spawn() executes, and nothing is inherited unless it is listed.
//
// The only place that does. By posix_spawn(3), although the design prefers Boost.Process v2: the launcher of 1.81 forks
// and then runs Asio's fork handlers and allocations in the child of a program that has threads, which costs 7.4 ms a
// start with 1,000 sockets and 256 MiB of heap (0.3 ms here); an execve that fails leaves through exit(), so that the
// child runs our destructors, writes our stdio buffers a second time and is never reaped; its error pipe is not
// close-on-exec from the first moment; and what it signals is a number, also after the process was reaped.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::sys {

struct GivenDescriptor {
  int ours = -1;
  int theirs = -1;  // its number in the program
};

struct SpawnOptions {
  std::string program;            // a path; it is not looked up in PATH, and no shell sees it
  std::vector<std::string> argv;  // argv[0] included
  std::vector<std::string> env;   // "NAME=value", complete
  // All that the program gets. 0, 1 and 2 are /dev/null where they are not listed.
  std::vector<GivenDescriptor> descriptors;
  // False: a process group of its own. True: a session of its own as well. Either way a signal to our group, or of our
  // terminal, is not for it.
  bool session = false;
};

// How a program ended.
struct ChildExit {
  int code = -1;   // exit code; -1 when a signal ended it
  int signal = 0;  // the signal; 0 when it exited
};

// A program that was started. Destroyed before it was reaped, its process group gets SIGKILL and it is waited for.
// Belongs to one thread.
class Child {
 public:
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable once the program has ended

  // SIGKILL for the process group; nothing once it was reaped. The group goes by its number, which stays the program's
  // own until that is reaped (a pidfd reaches a group from Linux 6.9 on).
  void kill_group() const;
  // True when it has ended; `exit` is known then. Does not block.
  bool reap() { return reaped_ || wait(false); }
  bool reaped() const { return reaped_; }
  const ChildExit& exit() const { return exit_; }

 private:
  friend Result<Child> spawn(const SpawnOptions& options);
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  bool wait(bool blocking);

  pid_t pid_;
  UniqueFd pidfd_;
  bool reaped_ = false;
  ChildExit exit_;
};

// Default signals, none blocked. Returns when the program has been executed. Errors: what posix_spawn said (kNotFound
// for a program that is not there), kUnsupported without pidfd_open (Linux 5.3).
Result<Child> spawn(const SpawnOptions& options);

}  // namespace mcpbox::sys
