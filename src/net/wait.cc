#include "net/wait.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace mcpbox::net {

void Signal::notify() {
  for (Waiter& waiter : waiters_) {
    waiter.notified = true;
    waiter.timer.cancel();
  }
}

Task<void> Signal::wait() {
  (void)co_await wait_until(std::chrono::steady_clock::time_point::max());
}

Task<bool> Signal::wait_until(std::chrono::steady_clock::time_point deadline) {
  struct Registration {
    std::list<Waiter>& list;
    std::list<Waiter>::iterator self;
    ~Registration() { list.erase(self); }
  };
  waiters_.push_back({boost::asio::steady_timer(executor_, deadline)});
  const Registration registration{waiters_, std::prev(waiters_.end())};
  Waiter& self = *registration.self;
  const auto tuple = boost::asio::as_tuple(boost::asio::use_awaitable);
  (void)co_await self.timer.async_wait(tuple);
  const auto cancellation = co_await boost::asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != boost::asio::cancellation_type::none) {
    throw boost::system::system_error(boost::asio::error::operation_aborted);
  }
  co_return self.notified;
}

Task<void> sleep_for(std::chrono::milliseconds duration) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, duration);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

}  // namespace mcpbox::net
