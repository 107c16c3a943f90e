#include "hosting/sandbox_connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/quiet_report.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::hosting {
namespace {

struct Engine final : test::NoEngine {
  Task<Result<void>> remove(std::string) override { co_return Result<void>{}; }
};

struct SandboxConnectionTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{1};
  test::TempTree host;
  test::FakeTree tree;
  Engine engine;
  test::QuietReport report;
  provision::ServerLog log{loop.get_executor(), Redactor{}};
  provision::Installer installer{engine, loop.get_executor(), pool, {}};
  provision::SandboxPool sandboxes{engine, loop.get_executor(), std::chrono::milliseconds(0),
                                   provision::SandboxPool::LostCallback()};

  void SetUp() override {
    sandboxes.open_with([this](box::SandboxOptions options) -> Task<Result<std::unique_ptr<box::Sandbox>>> {
      box::SandboxState state;
      state.id = state.name = "sandbox";
      co_return box::Sandbox::over(engine, std::move(options), std::move(state),
                                   std::make_unique<test::FakeSupervisor>(tree));
    });
  }
  void TearDown() override {
    const auto close = [this]() -> Task<bool> { co_return (co_await sandboxes.close_all()).has_value(); };
    EXPECT_TRUE(test::run_task(loop, close()));
    pool.join();
  }
  std::unique_ptr<provision::SandboxedProcess> start() {
    provision::SandboxedStart start;
    start.server = start.process_id = "one";
    start.plan.argv = {"python3", "server.py"};
    start.policy.allowed_roots = {host.root()};
    auto run = provision::UidBook().run();
    start.uids = run->uids;
    start.uid_hold = std::move(run->hold);
    start.sandbox.name = "shared";
    provision::SandboxedConnector connector(
        {loop.get_executor(), pool, sandboxes, installer, nullptr, host.path("staged"), false});
    auto process = test::run_task(loop, connector.start(std::move(start), report));
    EXPECT_THAT(process, test::succeeds());
    return process ? std::move(*process) : nullptr;
  }
};

// Its reader of stderr ends a turn of the loop later.
TEST_F(SandboxConnectionTest, is_not_written_to_after_its_end_where_nobody_stopped_it) {
  constexpr std::size_t kSize = sizeof(SandboxConnection);
  const std::unique_ptr<unsigned char[]> memory(new unsigned char[kSize]);
  auto* connection = new (memory.get()) SandboxConnection(loop.get_executor(), start(), log);
  loop.restart();
  loop.run_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(connection->drained());
  connection->~SandboxConnection();
  std::memset(memory.get(), 0, kSize);  // a list whose links are null has no end: notify() would crash
  loop.restart();
  loop.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(std::count(memory.get(), memory.get() + kSize, 0), static_cast<std::ptrdiff_t>(kSize));
}

TEST_F(SandboxConnectionTest, a_pipe_that_the_loop_does_not_take_is_an_error) {
  SandboxConnection connection(loop.get_executor(), start(), log);
  EXPECT_THAT(connection.take_channel(), test::succeeds());
  EXPECT_THAT(connection.take_channel(), test::fails(Code::kResourceExhausted, "pipes")) << "they are taken";
  const auto stop = [&]() -> Task<bool> {
    co_await connection.stop({std::chrono::milliseconds(5), std::chrono::milliseconds(5)});
    co_return true;
  };
  EXPECT_TRUE(test::run_task(loop, stop()));
}

// What ended for good is not waited for again with each end of the server.
TEST_F(SandboxConnectionTest, stderr_that_the_loop_does_not_take_has_ended_and_the_log_says_so) {
  const auto open_now = [] {
    std::set<int> out;
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd"))
      out.insert(std::stoi(each.path().filename().string()));
    return out;
  };
  const std::set<int> before = open_now();
  SandboxConnection connection(loop.get_executor(), start(), log);
  // It takes none twice, as it takes no more than there is room for.
  std::vector<std::unique_ptr<boost::asio::posix::stream_descriptor>> watched;
  for (const int fd : open_now()) {
    if (before.contains(fd)) continue;
    auto one = std::make_unique<boost::asio::posix::stream_descriptor>(loop);
    boost::system::error_code no_pipe;
    one->assign(fd, no_pipe);
    if (!no_pipe) watched.push_back(std::move(one));
  }
  loop.restart();
  loop.run_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(connection.drained());
  ASSERT_FALSE(log.since(0).empty());
  EXPECT_NE(log.since(0).back().text.find("stderr cannot be read"), std::string::npos) << log.since(0).back().text;
  for (const auto& each : watched) (void)each->release();
  const auto stop = [&]() -> Task<bool> {
    co_await connection.stop({std::chrono::milliseconds(5), std::chrono::milliseconds(5)});
    co_return true;
  };
  EXPECT_TRUE(test::run_task(loop, stop()));
}

}  // namespace
}  // namespace mcpbox::hosting
