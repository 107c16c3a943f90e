// What one server may write, held by the file system that it writes to: who passes it is refused, at that very moment.
//
// PID 1's walk of a server's folders names and ends whoever passes a limit, and where no file system holds them it is
// alone with that.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "box/process.h"
#include "net/task.h"

namespace mcpbox::box {

struct DiskShare {
  std::string sandbox;               // SandboxState::id
  std::vector<std::string> folders;  // root's, absolute in the sandbox; made when they are not there
  uid_t owner = 0;                   // nobody else has it; it need not be whom the server runs as
};

// As the folders have it until they are removed: an object that dies lets nobody write more.
class DiskBound {
 public:
  virtual ~DiskBound() = default;
  // From now on what the folders `limits.own` have can pass `limits` by no more than what PID 1 needs to see it
  // (wire/disk_room.h). What else lies in the share's folders now does not count. Until it is called there is no bound.
  virtual Task<Result<void>> tighten(ServerLimits limits) = 0;
  // Which of those limits was passed, as far as the file system knows. A short system call.
  virtual PassedLimit reached() const = 0;
};

// Says of a process that failed by itself that it was refused more, if it was. `bound` may be null.
void explain_end(ProcessExit& exit, const DiskBound* bound);
// A note for people: there could be a bound, and is none.
std::string not_bound(const Error& why);

}  // namespace mcpbox::box
