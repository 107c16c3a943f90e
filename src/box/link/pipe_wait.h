// Bounds the waits of a pool thread on a pipe whose other end a sandbox has.
//
// A frozen sandbox (docker pause) takes nothing, sends nothing, and keeps its end open: a blocking read(2) or write(2)
// would hold the thread for as long.
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::box {

// For one transfer on one pipe. Its functions but stop() belong to the thread that moves the bytes. The descriptor must
// not block; that is a flag of our end alone. SIGPIPE must be ignored in the process.
class PipeWait {
 public:
  // The transfer has `timeout` from now on.
  explicit PipeWait(std::chrono::milliseconds timeout);

  // From any thread: the transfer is over on the other side. What can be read or written without waiting still is.
  void stop();

  // kTimeout; kUnavailable when nobody is at the other end or after stop(). `what` is being done, for messages.
  Result<void> write_all(int fd, std::string_view bytes, std::string_view what);
  // At least one byte, 0 at the end.
  Result<std::size_t> read_some(int fd, char* buffer, std::size_t size, std::string_view what);

 private:
  Result<void> wait(int fd, short events, std::string_view what) const;

  std::chrono::steady_clock::time_point deadline_;
  UniqueFd stop_;  // readable after stop(); without one there is the deadline
};

// Stops the wait when a coroutine ends, however it does.
class PipeWaitGuard {
 public:
  explicit PipeWaitGuard(PipeWait& wait) : wait_(wait) {}
  ~PipeWaitGuard() { wait_.stop(); }
  PipeWaitGuard(const PipeWaitGuard&) = delete;
  PipeWaitGuard& operator=(const PipeWaitGuard&) = delete;

 private:
  PipeWait& wait_;
};

}  // namespace mcpbox::box
