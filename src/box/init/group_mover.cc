#include "box/init/group_mover.h"

#include <algorithm>
#include <utility>

namespace mcpbox::box::init {
namespace {

// Some milliseconds for each process are usual.
constexpr std::chrono::seconds kLimit{5};

}  // namespace

void GroupMover::put(const std::string& name, bool behind) {
  std::erase_if(servers_, [&](const auto& each) {
    return !each.second.moving && each.first != name && !groups_.is_there(each.first);
  });
  Server& server = servers_[name];
  const auto now = Clock::now();
  if (std::exchange(server.behind, behind) != behind) server.pause = kPause, server.next = now;
  if (!server.moving && now >= server.next && groups_.to_move(name, behind)) move(name, server);
}

void GroupMover::move(const std::string& name, Server& server) {
  const bool behind = server.behind;
  server.moving = true;
  auto work = [&groups = groups_, name, behind](const Answer& answer) {
    groups.move(name, behind);
    answer(std::string());
  };
  helpers_.start(std::move(work), groups_.descriptors(), kLimit, [this, name, behind](const Op<std::string>&) {
    Server& moved = servers_.at(name);
    moved.moving = false;
    if (moved.behind != behind) return move(name, moved);
    moved.next = Clock::now() + moved.pause;
    moved.pause = std::min<Clock::duration>(2 * moved.pause, kLongest);
  });
}

}  // namespace mcpbox::box::init
