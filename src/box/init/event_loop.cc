#include "box/init/event_loop.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

namespace mcpbox::box::init {

EventLoop::EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

int EventLoop::watch(int fd, unsigned events, Ready ready) {
  auto& slot = watches_[fd];
  const bool known = slot != nullptr;
  // The serial tells a late event of a closed descriptor from one of its successor with the same number.
  const std::uint32_t serial = known ? slot->serial : ++next_serial_;
  slot = std::make_shared<Watch>(Watch{serial, std::move(ready)});
  epoll_event event{};
  event.events = events;
  event.data.u64 = (static_cast<std::uint64_t>(serial) << 32) | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  const int error = errno;
  if (known) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watches_.erase(fd);
  return error;
}

void EventLoop::unwatch(int fd) {
  if (watches_.erase(fd) == 0 || ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0) return;
  // It was closed before: its events do no harm, because nobody is called for them.
  ::dprintf(2, "mcpbox-init: descriptor %d cannot be unwatched (errno %d)\n", fd, errno);
}

EventLoop::Timer EventLoop::at(Clock::time_point when, std::function<void()> call) {
  const Timer timer = ++next_timer_;
  timers_.emplace(std::pair(when, timer), std::move(call));
  due_.emplace(timer, when);
  return timer;
}

void EventLoop::cancel(Timer timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase(std::pair(found->second, timer));
  due_.erase(found);
}

void EventLoop::defer(std::function<void()> call) {
  deferred_.push_back(std::move(call));
}

int EventLoop::wait_ms() const {
  if (!deferred_.empty()) return 0;
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first.first - Clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
  return static_cast<int>(std::clamp<long long>(ms, 0, 3'600'000));
}

void EventLoop::run_due() {
  while (!stopped_ && !timers_.empty() && timers_.begin()->first.first <= Clock::now()) {
    auto first = timers_.extract(timers_.begin());
    due_.erase(first.key().second);
    first.mapped()();
  }
  for (auto& call : std::exchange(deferred_, {})) call();
}

int EventLoop::run() {
  epoll_event events[64];
  while (!stopped_) {
    const int count = ::epoll_wait(epoll_.get(), events, 64, wait_ms());
    if (count < 0 && errno != EINTR) return errno;
    for (int i = 0; i < count && !stopped_; ++i) {
      const int fd = static_cast<int>(static_cast<std::uint32_t>(events[i].data.u64));
      const auto serial = static_cast<std::uint32_t>(events[i].data.u64 >> 32);
      const auto found = watches_.find(fd);
      if (found == watches_.end() || found->second->serial != serial) continue;
      const std::shared_ptr<Watch> held = found->second;  // the callback may unwatch itself
      held->ready(events[i].events);
    }
    run_due();
  }
  return 0;
}

}  // namespace mcpbox::box::init
