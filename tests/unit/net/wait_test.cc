#include "net/wait.h"

#include <gtest/gtest.h>

#include "net/task_group.h"
#include "support/run_task.h"

namespace mcpbox::net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::hours;
using std::chrono::milliseconds;

TEST(Signal, wakes_everybody_who_waits_now) {
  boost::asio::io_context loop;
  Signal signal(loop.get_executor());
  int woken = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    const auto wait = [](Signal& s, int& count) -> Task<void> {
      co_await s.wait();
      ++count;
    };
    for (int i = 0; i < 10; ++i) group.spawn("wait", wait(signal, woken));
    co_await sleep_for(milliseconds(1));
    signal.notify();
    signal.notify();
    co_await group.join();
    co_return woken;
  };
  EXPECT_EQ(test::run_task(loop, body()), 10);
}

TEST(Signal, forgets_a_notification_that_nobody_waited_for) {
  boost::asio::io_context loop;
  Signal signal(loop.get_executor());
  auto body = [&]() -> Task<int> {
    signal.notify();
    co_return co_await signal.wait_until(Clock::now() + milliseconds(5)) ? 1 : 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST(Signal, a_deadline_in_the_past_is_over_at_once) {
  boost::asio::io_context loop;
  Signal signal(loop.get_executor());
  auto body = [&]() -> Task<int> { co_return co_await signal.wait_until(Clock::now() - hours(1)) ? 1 : 0; };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST(Signal, tells_a_notification_from_the_deadline) {
  boost::asio::io_context loop;
  Signal signal(loop.get_executor());
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    const auto ring = [](Signal& s) -> Task<void> {
      co_await sleep_for(milliseconds(1));  // spawning runs a task at once, up to its first wait
      s.notify();
    };
    group.spawn("ring", ring(signal));
    const bool rung = co_await signal.wait_until(Clock::now() + hours(1));
    co_await group.join();
    co_return rung ? 1 : 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 1);
}

TEST(Signal, cancellation_is_thrown_and_the_signal_goes_on_working) {
  boost::asio::io_context loop;
  Signal signal(loop.get_executor());
  bool waiting = false;
  auto body = [&]() -> Task<int> {
    waiting = true;
    co_await signal.wait();
    co_return 1;
  };
  EXPECT_FALSE(test::run_cancelled(loop, body(), [&] { return waiting; }));
  signal.notify();
  auto again = [&]() -> Task<int> { co_return co_await signal.wait_until(Clock::now()) ? 1 : 0; };
  EXPECT_EQ(test::run_task(loop, again()), 0);
}

TEST(Signal, a_waiter_may_wait_again_from_inside_its_wake_up) {
  boost::asio::io_context loop;
  Signal ping(loop.get_executor()), pong(loop.get_executor());
  int turns = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    const auto player = [](Signal& mine, Signal& theirs, int& count) -> Task<void> {
      while (count < 1000) {
        (void)co_await mine.wait_until(Clock::now() + milliseconds(100));
        ++count;
        theirs.notify();
      }
    };
    group.spawn("a", player(ping, pong, turns));
    group.spawn("b", player(pong, ping, turns));
    ping.notify();
    co_await group.join();
    co_return turns;
  };
  EXPECT_GE(test::run_task(loop, body()), 1000);
}

}  // namespace
}  // namespace mcpbox::net
