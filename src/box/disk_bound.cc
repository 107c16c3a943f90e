#include "box/disk_bound.h"

#include <fmt/format.h>
#include <signal.h>

namespace mcpbox::box {

void explain_end(ProcessExit& exit, const DiskBound* bound) {
  const bool killed = exit.signal == SIGKILL || exit.signal == SIGTERM;
  if (bound == nullptr || exit.limit.which != LimitKind::kNone || killed || (exit.code == 0 && exit.signal == 0))
    return;
  exit.limit = bound->reached();
  exit.refused = exit.limit.which != LimitKind::kNone;
}

std::string not_bound(const Error& why) {
  return fmt::format("its file system does not hold its limits of disk and files, only a walk of its folders does: {}",
                     why.message());
}

}  // namespace mcpbox::box
