// A lock between processes that ends with its holder, however that ends: flock(2) on a file of its own.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

#include "base/unique_fd.h"

namespace mcpbox::sys {

enum class LockMode { kShared, kExclusive };
enum class LockWait { kNo, kYes };

// Movable; lets go when it is destroyed. The descriptor is close-on-exec: a program that is executed does not go on
// holding the lock, but a child that only forks would, so a holder forks none that outlives it.
class FileLock {
 public:
  FileLock() = default;

  // Opens the file, making it 0600 if it is missing, and locks it. A holder may have removed the file meanwhile
  // (remove()): what is locked is what the name leads to in the end. Returns errno: EWOULDBLOCK when another holds it
  // and `wait` is kNo. kYes blocks the thread.
  static std::expected<FileLock, int> take(const std::string& path, LockMode mode, LockWait wait);

  explicit operator bool() const { return static_cast<bool>(file_); }

  // Writes our process id into the file, for holder_of(). An exclusive lock only; a full disk leaves it out.
  void sign() const;
  // Removes the file, then lets go. An exclusive lock only: whoever waits for it takes a new file.
  void remove();

 private:
  FileLock(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  UniqueFd file_;
  std::string path_;
};

// Who signed the lock at `path` and still lives, in our process id name space; 0 if nobody says. Waits up to a quarter
// of a second for a holder that has not signed yet.
pid_t holder_of(const std::string& path);

}  // namespace mcpbox::sys
