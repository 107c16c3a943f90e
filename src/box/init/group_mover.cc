#include "box/init/group_mover.h"

#include <utility>

namespace mcpbox::box::init {

void GroupMover::put(const std::string& name, bool behind) {
  if (const auto found = moving_.find(name); found != moving_.end()) return (void)(found->second = behind);
  if (groups_.to_move(name, behind)) start(name, behind);
}

void GroupMover::start(const std::string& name, bool behind) {
  moving_[name] = behind;
  auto work = [&groups = groups_, name, behind](const Answer& answer) {
    groups.move(name, behind);
    answer(std::string());
  };
  // A little longer than it takes at most. Who is not there then is moved by the next order.
  const auto limit = ServerGroups::kMoveTime + std::chrono::seconds(1);
  helpers_.start(std::move(work), groups_.descriptors(), limit, [this, name, behind](const Op<std::string>&) {
    const auto found = moving_.find(name);
    const bool wanted = found->second;
    moving_.erase(found);
    if (wanted != behind) put(name, wanted);
  });
}

}  // namespace mcpbox::box::init
