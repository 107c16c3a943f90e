#include "net/offload.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/run_task.h"

namespace mcpbox::net {
namespace {

TEST(Offload, runs_on_the_pool_and_resumes_on_the_loop_that_has_nothing_else_to_do) {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool(1);
  std::thread::id worked, resumed;
  auto body = [&]() -> Task<int> {
    auto work = [&worked] {
      worked = std::this_thread::get_id();
      // Long enough for a loop without work to end meanwhile.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return 7;
    };
    const int result = co_await offload(pool, work);
    resumed = std::this_thread::get_id();
    co_return result;
  };
  EXPECT_EQ(test::run_task(loop, body()), 7);
  EXPECT_NE(worked, resumed);
  EXPECT_EQ(resumed, std::this_thread::get_id());
}

}  // namespace
}  // namespace mcpbox::net
