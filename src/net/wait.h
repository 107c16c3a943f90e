// Small waits: a condition for coroutines of one executor, and sleeping.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>

#include "net/task.h"

namespace mcpbox::net {

// Wakes every coroutine that waits now. Like a condition variable: the waiter checks its condition in a loop. Both
// sides run on the same executor, so nothing can happen between the check and the wait. Must outlive its waiters.
class Signal {
 public:
  explicit Signal(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}
  void notify();
  // Returns at the next notify(). Throws system_error(operation_aborted) when the waiting coroutine is cancelled.
  Task<void> wait();
  // The same with an end; false when the time was up first.
  Task<bool> wait_until(std::chrono::steady_clock::time_point deadline);

 private:
  struct Waiter {
    boost::asio::steady_timer timer;
    bool notified = false;
  };
  boost::asio::any_io_executor executor_;
  std::list<Waiter> waiters_;
};

// Throws system_error(operation_aborted) when the coroutine is cancelled.
Task<void> sleep_for(std::chrono::milliseconds duration);

}  // namespace mcpbox::net
