#include "hosting/instance_pool.h"

#include <gtest/gtest.h>

#include "net/task_group.h"
#include "support/fake_connector.h"
#include "support/run_task.h"

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;

struct InstancePoolTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool threads{1};
  provision::ServerLog log{loop.get_executor(), Redactor{}};
  std::shared_ptr<test::FakeProcess> process = std::make_shared<test::FakeProcess>(loop.get_executor(), test::Script{});
  InstancePool pool{loop.get_executor()};
  net::TaskGroup tasks{loop.get_executor(), "test"};

  Instance& add() {
    process->on_step = [] {};
    InstanceOptions options;
    options.grace = {milliseconds(2), milliseconds(2)};
    auto connection = std::make_unique<test::FakeConnection>(process);
    auto channel = connection->take_channel().value();
    auto instance = std::make_unique<Instance>(loop.get_executor(), threads, std::move(connection), std::move(channel),
                                               options, log);
    instance->start([] {});
    pool.add(kShared, std::move(instance));
    return *pool.find(kShared);
  }
  Task<void> retire(bool& done) {
    co_await pool.retire(kShared, Error(Code::kUnavailable, "it was stopped"), false);
    done = true;
  }
};

TEST_F(InstancePoolTest, gives_a_lease_of_what_runs_and_of_nothing_else) {
  auto body = [this]() -> Task<int> {
    EXPECT_FALSE(co_await pool.acquire(kShared));
    EXPECT_EQ(pool.find(kShared), nullptr);
    Instance& instance = add();
    EXPECT_FALSE(co_await pool.acquire(ScopeKey{"another"}));
    {
      auto lease = co_await pool.acquire(kShared);
      EXPECT_TRUE(lease);
      EXPECT_EQ(lease->operator->(), &instance);
    }
    co_await pool.retire(kShared, Error(Code::kUnavailable, "it was stopped"), false);
    EXPECT_FALSE(co_await pool.acquire(kShared));
    EXPECT_TRUE(process->ended);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(InstancePoolTest, an_instance_lives_until_its_last_lease_is_back) {
  auto body = [this]() -> Task<int> {
    add();
    bool done = false;
    {
      auto lease = co_await pool.acquire(kShared);
      tasks.spawn("retire", retire(done));
      while (!process->ended) co_await net::sleep_for(milliseconds(1));
      co_await net::sleep_for(milliseconds(5));
      EXPECT_FALSE(done);
      EXPECT_EQ(pool.find(kShared), nullptr) << "nobody else gets it";
      EXPECT_FALSE(co_await pool.acquire(kShared));
      auto reply = co_await (*lease)->call("tools/call", {}, milliseconds(100));
      EXPECT_FALSE(reply) << "a call on what was ended";
    }
    co_await tasks.join();
    EXPECT_TRUE(done);
    co_return 0;
  };
  test::run_task(loop, body());
}

}  // namespace
}  // namespace mcpbox::hosting
