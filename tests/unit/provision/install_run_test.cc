// An installation whose output does not end.
#include "provision/install/install_run.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/run_task.h"

namespace mcpbox::provision {
namespace {

struct InstallRunTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{2};
  test::FakeTree tree;
  test::NoEngine engine;
  InstallerOptions options;
  EnvLedger ledger{""};
  InstallRequest request;
  std::vector<std::pair<int, std::string>> prints;  // to stdout (1) or stderr (2), by the step

  InstallRunTest() {
    workspace::InstallPlan plan;
    plan.hash = plan.asked_hash = std::string(32, 'a');
    plan.environment = "/cache/env/" + plan.hash + "/env";
    plan.manager = "uv";
    workspace::InstallStep step;
    step.title = "install";
    step.argv = {"uv"};
    plan.steps = {step};
    request.subject = "one";
    request.plan.install = plan;
  }
  ~InstallRunTest() override { pool.join(); }

  Task<Result<void>> install(int code) {
    auto link = std::make_unique<test::FakeSupervisor>(tree);
    test::FakeSupervisor* supervisor = link.get();
    // The step itself ends at once. The fake never closes its side of the pipes, as a process that nobody reaches does.
    supervisor->before = [this, supervisor, code](const std::string& name) -> Task<Result<void>> {
      if (name != "close_stdin") co_return Result<void>{};
      std::vector<std::string> ids;
      for (const auto& [id, spec] : supervisor->processes) ids.push_back(id);
      for (const auto& [pipe, text] : prints) supervisor->print(pipe, text);
      for (const std::string& id : ids) supervisor->end(id, code);
      co_return Result<void>{};
    };
    const auto sandbox = box::Sandbox::over(engine, {}, {}, std::move(link));
    InstallRun run(loop.get_executor(), pool, options, ledger, *sandbox, request, 2'033'000'001,
                   InstallRun::Clock::now() + std::chrono::seconds(60), {});
    co_return co_await run.run();
  }
};

TEST_F(InstallRunTest, ends_though_something_that_is_out_of_reach_holds_its_output_open) {
  const auto began = std::chrono::steady_clock::now();
  const auto good = test::run_task(loop, install(0), std::chrono::seconds(30));
  EXPECT_TRUE(good) << good.error().message();
  EXPECT_TRUE(tree.has("/cache/env/" + std::string(32, 'a') + "/complete"));
  const auto bad = test::run_task(loop, install(1), std::chrono::seconds(30));
  EXPECT_FALSE(bad);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

TEST_F(InstallRunTest, shows_no_secret_of_its_variables) {
  const std::string secret = "hunter2-hunter2";
  options.redact.add(Secret(secret + "\n" + "second-line-of-it\n"));
  std::string seen;
  request.progress = [&](std::string_view line) { seen += std::string(line) + "\n"; };
  prints = {
      {2, "error: first hunter2-"}, {1, "between"}, {2, "hunter2 end\nsecond-line-of-it\n"}, {2, "last hunter2-h"}};
  const auto failed = test::run_task(loop, install(1), std::chrono::seconds(30));
  ASSERT_FALSE(failed);
  for (const std::string& text : {seen, failed.error().message()}) {
    EXPECT_EQ(text.find("hunter2"), std::string::npos) << text;
    EXPECT_EQ(text.find("second"), std::string::npos) << text;
    EXPECT_THAT(text, testing::HasSubstr("error: first *** end"));
  }
}

}  // namespace
}  // namespace mcpbox::provision
