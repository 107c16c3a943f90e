// Sessions and the pool that shares them.
#include <gmock/gmock.h>

#include "net/task_group.h"
#include "provision/sandbox_pool.h"
#include "real_engine.h"

namespace mcpbox::hosting {
namespace {

using testing::HasSubstr;

struct SessionTest : test::RealEngine {
  box::ProcessSpec sleeper(std::string id, uid_t uid) const {
    box::ProcessSpec spec;
    spec.id = std::move(id);
    spec.argv = {"sleep", "1000"};
    spec.env = {"PATH=/usr/bin:/bin"};
    spec.cwd = "/";
    spec.uid = uid;
    spec.gid = uid;
    return spec;
  }
  Task<Result<std::unique_ptr<box::Sandbox>>> open(box::SandboxOptions options) {
    return box::Sandbox::open(*setup.engine, std::move(options));
  }
};

TEST_F(SessionTest, is_adopted_by_the_next_controller_with_its_processes) {
  auto body = [this]() -> Task<int> {
    auto first = co_await open(session_options("shared"));
    EXPECT_TRUE(first) << (first ? "" : first.error().message());
    if (!first) co_return 1;
    EXPECT_FALSE((*first)->adopted());
    const std::string id = (*first)->state().id;
    auto spawned = co_await (*first)->supervisor().spawn(sleeper("p", 1'900'000'001));
    EXPECT_TRUE(spawned);
    first->reset();  // as if it was killed

    auto second = co_await open(session_options("shared"));
    EXPECT_TRUE(second) << (second ? "" : second.error().message());
    if (!second) co_return 1;
    EXPECT_TRUE((*second)->adopted());
    EXPECT_EQ((*second)->state().id, id);
    auto processes = co_await (*second)->supervisor().list();
    EXPECT_TRUE(processes && processes->size() == 1 && processes->front().running);
    EXPECT_TRUE(co_await (*second)->close());
    EXPECT_EQ(co_await sandboxes(), 0u);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionTest, another_profile_replaces_the_sandbox) {
  auto body = [this]() -> Task<int> {
    auto first = co_await open(session_options("shared"));
    EXPECT_TRUE(first);
    if (!first) co_return 1;
    const std::string id = (*first)->state().id;
    first->reset();
    auto options = session_options("shared");
    options.profile.limits.processes = 77;
    auto second = co_await open(std::move(options));
    EXPECT_TRUE(second) << (second ? "" : second.error().message());
    if (!second) co_return 1;
    EXPECT_FALSE((*second)->adopted());
    EXPECT_NE((*second)->state().id, id);
    EXPECT_EQ(co_await sandboxes(), 1u);
    EXPECT_TRUE(co_await (*second)->close());
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionTest, an_ephemeral_one_goes_with_its_controller) {
  auto body = [this]() -> Task<int> {
    auto options = session_options("run-1");
    options.ephemeral = true;
    auto session = co_await open(options);
    EXPECT_TRUE(session) << (session ? "" : session.error().message());
    if (!session) co_return 1;
    EXPECT_TRUE(co_await (*session)->supervisor().spawn(sleeper("p", 1'900'000'001)));
    auto second = co_await open(options);
    EXPECT_FALSE(second);
    if (!second) EXPECT_EQ(second.error().code(), Code::kAlreadyExists);
    session->reset();
    EXPECT_TRUE(co_await sandboxes_become(0));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionTest, one_that_is_removed_from_outside_says_so) {
  auto body = [this]() -> Task<int> {
    auto session = co_await open(session_options("shared"));
    EXPECT_TRUE(session);
    if (!session) co_return 1;
    net::Signal lost(loop.get_executor());
    bool told = false;
    (*session)->supervisor().on_lost([&](const Error&) {
      told = true;
      lost.notify();
    });
    EXPECT_TRUE(co_await setup.engine->remove((*session)->state().id));
    const auto until = test::Clock::now() + std::chrono::seconds(20);
    while (!told && test::Clock::now() < until) (void)co_await lost.wait_until(until);
    EXPECT_TRUE(told);
    EXPECT_THAT(co_await (*session)->describe_loss(), HasSubstr("removed from outside"));
    auto spawned = co_await (*session)->supervisor().spawn(sleeper("p", 1'900'000'001));
    EXPECT_FALSE(spawned);
    if (!spawned) EXPECT_EQ(spawned.error().code(), Code::kUnavailable);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionTest, the_pool_opens_one_for_all_who_ask_at_once) {
  auto body = [this]() -> Task<int> {
    provision::SandboxPool pool_of_sessions(*setup.engine, loop.get_executor(), std::chrono::seconds(60), {});
    net::TaskGroup tasks(loop.get_executor(), "test");
    std::vector<provision::SandboxPool::Lease> got;
    const auto acquire = [](provision::SandboxPool& from, box::SandboxOptions options,
                            std::vector<provision::SandboxPool::Lease>& out) -> Task<void> {
      auto session = co_await from.acquire(std::move(options));
      if (session) out.push_back(std::move(*session));
    };
    for (int i = 0; i < 3; ++i) tasks.spawn("acquire", acquire(pool_of_sessions, session_options("shared"), got));
    co_await tasks.join();
    EXPECT_EQ(got.size(), 3u);
    EXPECT_TRUE(got.size() == 3 && &*got[0] == &*got[1] && &*got[1] == &*got[2]);
    EXPECT_EQ(co_await sandboxes(), 1u);
    got.clear();
    EXPECT_TRUE(co_await pool_of_sessions.close_all());
    EXPECT_EQ(co_await sandboxes(), 0u);
    co_return 0;
  };
  test::run_task(loop, body());
}

}  // namespace
}  // namespace mcpbox::hosting
