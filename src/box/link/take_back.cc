#include "box/link/take_back.h"

#include <signal.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/log.h"
#include "box/link/times.h"

namespace mcpbox::box {
namespace {

constexpr int kRounds = 3;  // of the time that PID 1 takes to kill what does not want to end

}  // namespace

void TakeBack::begin(std::string process_id, uid_t uid) {
  if (exchange_->lost()) return;
  exchange_->mute(process_id);
  const auto item = items_.insert(items_.end(), {std::move(process_id), uid});
  boost::asio::co_spawn(
      exchange_->executor(), [self = shared_from_this(), item] { return self->run(item); }, boost::asio::detached);
}

Task<void> TakeBack::wait(std::string process_id, uid_t uid) {
  while (std::ranges::any_of(items_, [&](const Item& i) { return i.process_id == process_id || i.uid == uid; })) {
    co_await changed_.wait();
  }
}

Task<void> TakeBack::run(std::list<Item>::iterator item) {
  bool gone = false;
  for (int round = 0; round < kRounds && !gone && !exchange_->lost(); ++round) {
    // PID 1 answers in order, so what it started for the lost request is there by now.
    (void)co_await exchange_->call(wire::KillUid{item->uid, SIGKILL, static_cast<std::uint32_t>(kKillTime.count())},
                                   kKillTime + request_time_);
    const auto forgotten = co_await exchange_->call(wire::Forget{item->process_id}, request_time_);
    gone = forgotten || (forgotten.error().refused && forgotten.error().error.code() == Code::kNotFound);
  }
  if (!gone && !exchange_->lost()) {
    log::warning("sandbox", "process {} may still run: its start was not confirmed, and it could not be ended",
                 item->process_id);
  }
  exchange_->unmute(item->process_id);
  items_.erase(item);
  changed_.notify();
}

}  // namespace mcpbox::box
