#include "hosting/instance_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/task_group.h"
#include "server_house.h"
#include "support/fake_connector.h"
#include "support/run_task.h"

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

struct InstancePoolTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool threads{1};
  test::FakeStarts starts{loop.get_executor()};
  InstanceContext context{loop.get_executor(), threads, settings(), parts(), fast()};
  net::TaskGroup tasks{loop.get_executor(), "test"};

  static config::ServerSettings settings() {
    config::ServerSettings settings;
    settings.name = "one";
    return settings;
  }
  ServerParts parts() {
    ServerParts parts;
    parts.log = std::make_unique<provision::ServerLog>(loop.get_executor(), Redactor{});
    parts.connector = std::make_unique<test::FakeConnector>(starts);
    return parts;
  }
  Task<bool> serving(const InstanceLife& life) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(10);
    while (!life.lifecycle().serving() && std::chrono::steady_clock::now() < deadline)
      (void)co_await context.changed.wait_until(deadline);
    co_return life.lifecycle().serving();
  }
};

TEST_F(InstancePoolTest, gives_a_lease_of_what_runs_and_of_nothing_else) {
  InstancePool pool(context);
  auto body = [&]() -> Task<int> {
    auto none = co_await pool.acquire(kShared);
    EXPECT_FALSE(none);
    if (!none) EXPECT_THAT(none.error().message(), HasSubstr("server 'one' is stopped"));
    EXPECT_EQ(pool.shown().instance(), nullptr);
    tasks.spawn("pool", pool.run());
    EXPECT_TRUE(co_await serving(pool.shown()));
    EXPECT_TRUE(pool.settled());
    EXPECT_FALSE(co_await pool.acquire(ScopeKey{"another"}));
    EXPECT_EQ(pool.find(ScopeKey{"another"}), nullptr);
    {
      auto lease = co_await pool.acquire(kShared);
      EXPECT_TRUE(lease);
      if (lease) EXPECT_EQ(lease->operator->(), pool.shown().instance());
    }
    pool.tell(Lifecycle::ShutDownAsked{});
    EXPECT_FALSE(co_await pool.acquire(kShared)) << "it is about to end";
    co_await tasks.join();
    EXPECT_EQ(starts.left(), 0u);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(InstancePoolTest, an_instance_lives_until_its_last_lease_is_back) {
  InstancePool pool(context);
  auto body = [&]() -> Task<int> {
    tasks.spawn("pool", pool.run());
    EXPECT_TRUE(co_await serving(pool.shown()));
    {
      auto lease = co_await pool.acquire(kShared);
      pool.tell(Lifecycle::ShutDownAsked{});
      while (starts.left() > 0) co_await net::sleep_for(milliseconds(1));
      co_await net::sleep_for(milliseconds(5));
      EXPECT_EQ(tasks.running(), 1u);
      EXPECT_EQ(pool.shown().instance(), nullptr) << "nobody else gets it";
      EXPECT_FALSE(co_await pool.acquire(kShared));
      auto reply = co_await (*lease)->call("tools/call", {}, milliseconds(100));
      EXPECT_FALSE(reply) << "a call on what was ended";
    }
    co_await tasks.join();
    co_return 0;
  };
  test::run_task(loop, body());
}

// Nothing of one is the server's: two of them start, end and fail apart.
TEST_F(InstancePoolTest, two_instances_of_one_server_have_a_life_each) {
  InstanceLife a(context, {"one", "a"}), b(context, {"one", "b"});
  auto body = [&]() -> Task<int> {
    tasks.spawn("a", a.run());
    EXPECT_TRUE(co_await serving(a));
    test::Script refused;
    refused.fails = Error(Code::kPermissionDenied, "not with you");
    starts.scripts.assign(1, refused);
    tasks.spawn("b", b.run());
    while (b.lifecycle().state() != ServerState::kError) co_await context.changed.wait();
    EXPECT_TRUE(a.lifecycle().serving());
    EXPECT_FALSE(a.lifecycle().error());
    EXPECT_THAT(b.lease().error().message(), HasSubstr("not with you"));
    EXPECT_TRUE(a.lease());
    EXPECT_EQ(starts.ids.at(0).key, "a");
    EXPECT_EQ(starts.ids.at(1).key, "b");

    test::Script works;
    works.environment = "abc";
    starts.scripts.assign(1, works);
    b.tell(Lifecycle::RestartAsked{});
    EXPECT_TRUE(co_await serving(b));
    EXPECT_EQ(b.last().environment, "abc");
    EXPECT_EQ(a.last().environment, "");
    a.tell(Lifecycle::ShutDownAsked{});
    while (!a.lifecycle().over()) co_await context.changed.wait();
    EXPECT_TRUE(b.lifecycle().serving());
    EXPECT_EQ(starts.left(), 1u);
    b.tell(Lifecycle::ShutDownAsked{});
    co_await tasks.join();
    EXPECT_EQ(starts.left(), 0u);
    co_return 0;
  };
  test::run_task(loop, body());
}

}  // namespace
}  // namespace mcpbox::hosting
