// One daemon a state directory: it alone adopts, replaces and sweeps the sandboxes that belong to it.
#pragma once

#include <chrono>
#include <utility>

#include "app/compose/paths.h"
#include "base/result.h"
#include "sys/file_lock.h"

namespace mcpbox::app {

class DaemonLock {
 public:
  // Holds <state_dir>/daemon.lock and notes the control socket beside it, for who meets the lock. kAlreadyExists names
  // the process that holds it, its socket, and how to stop it. Waits `patience` for a daemon that is about to end;
  // blocks the thread meanwhile.
  static Result<DaemonLock> take(const Paths& paths, std::chrono::milliseconds patience = {});

 private:
  explicit DaemonLock(sys::FileLock lock) : lock_(std::move(lock)) {}
  sys::FileLock lock_;
};

}  // namespace mcpbox::app
