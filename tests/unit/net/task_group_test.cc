#include "net/task_group.h"

#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>
#include <stdexcept>

#include "net/wait.h"
#include "support/run_task.h"

namespace mcpbox::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

struct TaskGroupTest : testing::Test {
  boost::asio::io_context loop;
};

// Says when its coroutine's frame is gone.
struct Witness {
  int& ended;
  ~Witness() { ++ended; }
};

Task<void> sleeper(int& ended) {
  const Witness witness{ended};
  co_await sleep_for(hours(1));
}

Task<void> waiter(Signal& signal, int& ended) {
  const Witness witness{ended};
  for (;;) co_await signal.wait();
}

TEST_F(TaskGroupTest, stop_cancels_all_and_returns_when_the_last_ended) {
  int ended = 0;
  auto body = [&]() -> Task<int> {
    Signal signal(loop.get_executor());
    TaskGroup group(loop.get_executor(), "test");
    for (int i = 0; i < 5; ++i) group.spawn("sleeper", sleeper(ended));
    for (int i = 0; i < 5; ++i) group.spawn("waiter", waiter(signal, ended));
    co_await sleep_for(milliseconds(1));
    EXPECT_EQ(group.running(), 10u);
    co_await group.stop();
    EXPECT_EQ(group.running(), 0u);
    co_return ended;
  };
  EXPECT_EQ(test::run_task(loop, body()), 10);
}

TEST_F(TaskGroupTest, stop_ends_tasks_that_were_never_resumed) {
  int ended = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    group.spawn("sleeper", sleeper(ended));
    co_await group.stop();
    co_await group.stop();
    co_return static_cast<int>(group.running());
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(TaskGroupTest, join_waits_without_cancelling) {
  int done = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    const auto task = [](int& count, int turns) -> Task<void> {
      for (int i = 0; i < turns; ++i) co_await sleep_for(milliseconds(1));
      ++count;
    };
    for (int i = 0; i < 4; ++i) group.spawn("task", task(done, i));
    co_await group.join();
    co_return done;
  };
  EXPECT_EQ(test::run_task(loop, body()), 4);
}

TEST_F(TaskGroupTest, an_exception_ends_its_own_task_only) {
  int ended = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    const auto thrower = []() -> Task<void> {
      co_await sleep_for(milliseconds(1));
      throw std::runtime_error("thrown by a test");
    };
    group.spawn("sleeper", sleeper(ended));
    group.spawn("thrower", thrower());
    while (group.running() > 1) co_await sleep_for(milliseconds(1));
    EXPECT_EQ(ended, 0);
    co_await group.stop();
    co_return ended;
  };
  EXPECT_EQ(test::run_task(loop, body()), 1);
}

TEST_F(TaskGroupTest, a_task_may_spawn_another_and_end_itself) {
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    int ended = 0;
    const auto parent = [](TaskGroup& in, int& count) -> Task<void> {
      in.spawn("child", sleeper(count));
      co_return;
    };
    group.spawn("parent", parent(group, ended));
    while (group.running() != 1) co_await sleep_for(milliseconds(1));
    co_await group.stop();
    co_return ended;
  };
  EXPECT_EQ(test::run_task(loop, body()), 1);
}

TEST_F(TaskGroupTest, nothing_is_started_while_it_stops) {
  int ended = 0;
  auto body = [&]() -> Task<int> {
    TaskGroup group(loop.get_executor(), "test");
    // Cancelled, this one asks for more work.
    const auto stubborn = [](TaskGroup& in, int& count) -> Task<void> {
      struct Respawn {
        TaskGroup& in;
        int& count;
        ~Respawn() { in.spawn("late", sleeper(count)); }
      } const respawn{in, count};
      co_await sleep_for(hours(1));
    };
    group.spawn("stubborn", stubborn(group, ended));
    co_await sleep_for(milliseconds(1));
    co_await group.stop();
    co_return static_cast<int>(group.running());
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(TaskGroupTest, the_destructor_cancels_and_the_tasks_end_by_themselves) {
  int ended = 0;
  auto body = [&]() -> Task<int> {
    {
      TaskGroup group(loop.get_executor(), "test");
      for (int i = 0; i < 3; ++i) group.spawn("sleeper", sleeper(ended));
      co_await sleep_for(milliseconds(1));
    }
    for (int i = 0; i < 1000 && ended < 3; ++i) co_await sleep_for(milliseconds(1));
    co_return ended;
  };
  EXPECT_EQ(test::run_task(loop, body()), 3);
}

TEST_F(TaskGroupTest, a_loop_that_is_destroyed_with_tasks_in_it_frees_them) {
  int ended = 0;
  {
    boost::asio::io_context inner;
    const auto owner = [](boost::asio::any_io_executor executor, int& count) -> Task<void> {
      TaskGroup group(executor, "test");
      group.spawn("sleeper", sleeper(count));
      co_await sleep_for(hours(1));
    };
    boost::asio::co_spawn(inner, owner(inner.get_executor(), ended), boost::asio::detached);
    inner.run_for(milliseconds(5));
  }
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace mcpbox::net
