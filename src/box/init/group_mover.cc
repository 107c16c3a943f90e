#include "box/init/group_mover.h"

#include <algorithm>
#include <utility>

namespace mcpbox::box::init {
namespace {

constexpr std::chrono::seconds kLimit{5};

}  // namespace

void GroupMover::put(const std::string& name, bool apart) {
  const auto found = servers_.find(name);
  if (found == servers_.end()) {
    if (!groups_.to_move(name, apart)) return;
    Server& server = servers_[name];
    server.apart = apart;
    return move(name, server);
  }
  Server& server = found->second;
  if (std::exchange(server.apart, apart) == apart || !server.waiting) return;
  loop_.cancel(server.timer);
  server.pause = kPause;
  move(name, server);
}

void GroupMover::move(const std::string& name, Server& server) {
  const bool apart = server.apart;
  server.waiting = false;
  if (apart) groups_.make_apart(name);
  auto work = [&groups = groups_, name, apart](const Answer& answer) {
    answer(groups.move(name, apart) != 0 ? std::string("some") : std::string());
  };
  helpers_.start(std::move(work), groups_.descriptors(), kLimit, [this, name, apart](const Op<std::string>& result) {
    moved(name, apart, result && !result->empty());
  });
}

void GroupMover::moved(const std::string& name, bool apart, bool some) {
  const auto found = servers_.find(name);
  Server& server = found->second;
  if (!groups_.is_there(name) || !groups_.to_move(name, server.apart)) return (void)servers_.erase(found);
  if (server.apart != apart || some) server.pause = kPause;
  server.waiting = true;
  server.timer = loop_.at(EventLoop::Clock::now() + server.pause, [this, name] { move(name, servers_.at(name)); });
  server.pause = std::min(2 * server.pause, kLongest);
}

}  // namespace mcpbox::box::init
