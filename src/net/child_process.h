// Runs a helper program on the host (an image build script) and reads its output line by line, without blocking the
// loop.
//
// It is started by sys::spawn() in a process group of its own, with stdin from /dev/null or the text that it is given,
// and no descriptors but 0, 1 and 2.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/task.h"
#include "sys/child.h"

namespace mcpbox::net {

struct ChildOptions {
  std::vector<std::string> argv;  // argv[0] is the program's path; it is not looked up in PATH
  std::vector<std::string> env;   // "NAME=value", complete: nothing is inherited
  std::string input;              // all of its stdin, at most 4096 bytes
  std::function<void(std::string_view line)> on_stdout_line;  // without the line break; untrusted text
  std::function<void(std::string_view line)> on_stderr_line;
  std::chrono::milliseconds timeout{60000};
  std::size_t max_line_bytes = 64 << 10;  // longer lines are handed over in pieces of this size
};

using sys::ChildExit;

// Waits for the end of the program and of its output (for at most a second longer, should a grandchild keep the pipes
// open). Errors: what sys::spawn() said, kTimeout, kCancelled. After an error, and after cancellation, the whole
// process group has been sent SIGKILL and the program has been reaped.
Task<Result<ChildExit>> run_child(ChildOptions options);

// Waits until `child` has ended, `until` at the latest. True when it has: then it was reaped. Returns early when it is
// cancelled. The child outlives it.
Task<bool> wait_for_end(sys::Child& child, std::chrono::steady_clock::time_point until);

}  // namespace mcpbox::net
