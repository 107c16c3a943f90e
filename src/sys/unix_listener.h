// A unix socket with a lock: of all processes that want to serve one path, exactly one does.
//
// The lock is `<path>.lock`. Only its holder removes a socket that a killed process left, binds, and removes what it
// bound. A socket that answers although nobody holds the lock (of a program that knows none, or after the lock was
// deleted by hand) is left alone.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/file_lock.h"
#include "sys/path_guard.h"

namespace mcpbox::sys {

struct ListenOptions {
  std::string path;
  mode_t mode = 0600;  // exactly; not even for a moment is it wider
  // How long to wait for a holder that is about to end. Blocks the thread.
  std::chrono::milliseconds patience{0};
};

// Movable. Belongs to one thread.
class UnixListener {
 public:
  UnixListener() = default;
  UnixListener(UnixListener&&) = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener() { remove(); }

  // Binds and listens; the socket is close-on-exec and does not block. Errors: kAlreadyExists when another process
  // serves the path, with its process id where that is known; kFailedPrecondition when something that is no socket has
  // the name; kInvalidArgument when the path has no place in a sockaddr_un; what the system said.
  static Result<UnixListener> listen(const ListenOptions& options);

  // The listening socket, once, for the event loop. It must stay open until remove(): as long as it is, no other socket
  // has its inode.
  UniqueFd take_socket() { return std::move(socket_); }

  // Removes the name if it still leads to the socket that was bound here, then the lock. May be called again.
  void remove();

 private:
  FileLock lock_;
  std::string path_;
  FileId bound_;
  UniqueFd socket_;
};

// Removes the socket that a killed process left at `path`, and its lock; waits up to `patience` for a holder that is
// about to end. False when a process serves it or it is no socket: then nothing was changed.
bool remove_stale_socket(const std::string& path, std::chrono::milliseconds patience = {});

}  // namespace mcpbox::sys
