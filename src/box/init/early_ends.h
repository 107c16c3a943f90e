// Ends of children of PID 1 whom nobody knew when they were reaped: a server may end before PID 1 has read who it is
// (start_report.h), and says how it ended all the same.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <deque>

namespace mcpbox::box::init {

class EarlyEnds {
 public:
  struct End {
    pid_t pid = -1;
    int status = SIGKILL;  // of whom nothing else is known
    rusage usage{};
  };
  // Only the last ones are kept: as many as may end unknown while one start is slow. Those are process 1 of other
  // servers' namespaces, one for each process that PID 1 manages.
  static constexpr std::size_t kMost = 4096;

  void keep(const End& end) {
    ends_.push_back(end);
    if (ends_.size() > kMost) ends_.pop_front();
  }
  // The last of that number, which may have been another's before.
  End of(pid_t pid) const {
    const auto found = std::find_if(ends_.rbegin(), ends_.rend(), [pid](const End& end) { return end.pid == pid; });
    return found == ends_.rend() ? End{.pid = pid} : *found;
  }
  void clear() { ends_.clear(); }

 private:
  std::deque<End> ends_;
};

}  // namespace mcpbox::box::init
