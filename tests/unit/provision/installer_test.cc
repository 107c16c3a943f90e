// An installation as a whole, with a PID 1 in memory.
#include "provision/install/installer.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/run_task.h"

namespace mcpbox::provision {
namespace {

using testing::Contains;
using testing::HasSubstr;

const std::string kHash(32, 'a');
const std::string kComplete = "/cache/env/" + kHash + "/complete";

// Every step of an installation ends well at once. Nobody can look through the cache when it is done.
struct Installing final : test::NoEngine {
  test::FakeTree& tree;
  explicit Installing(test::FakeTree& t) : tree(t) {}

  Task<Result<box::SandboxState>> create(box::SandboxSpec spec) override {
    box::SandboxState state;
    state.id = state.name = spec.name;
    co_return state;
  }
  Task<Result<void>> ensure_volume(std::string, box::Labels) override { co_return Result<void>{}; }
  Task<Result<void>> remove(std::string) override { co_return Result<void>{}; }
  Task<Result<std::unique_ptr<box::Supervisor>>> dial(box::SandboxState, std::chrono::milliseconds) override {
    auto link = std::make_unique<test::FakeSupervisor>(tree);
    link->before = [this, self = link.get()](const std::string& name) -> Task<Result<void>> {
      if (name == "list_directory" && tree.has(kComplete)) co_return fail(Code::kUnavailable, "the cache is damaged");
      if (name != "close_stdin") co_return Result<void>{};
      std::vector<std::string> ids;
      for (const auto& [id, spec] : self->processes) ids.push_back(id);
      for (const std::string& id : ids) self->end(id, 0);
      co_return Result<void>{};
    };
    co_return link;
  }
};

TEST(Installer, says_that_the_quota_could_not_be_enforced) {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool(2);
  test::FakeTree tree;
  Installing engine(tree);
  InstallerOptions options;
  options.sandbox.instance = std::string(32, 'b');
  options.quota_bytes = 1 << 20;
  Installer installer(engine, loop.get_executor(), pool, std::move(options));

  InstallRequest request;
  request.subject = "one";
  workspace::InstallPlan plan;
  plan.hash = plan.asked_hash = kHash;
  plan.environment = "/cache/env/" + kHash + "/env";
  plan.manager = "uv";
  workspace::InstallStep step;
  step.title = "install";
  step.argv = {"uv"};
  plan.steps = {step};
  request.plan.install = plan;
  std::vector<std::string> said;
  request.progress = [&said](std::string_view line) { said.emplace_back(line); };

  test::FakeSupervisor reader(tree);
  const auto installed = test::run_task(loop, installer.ensure(reader, std::move(request)));
  EXPECT_TRUE(installed) << installed.error().message();
  EXPECT_THAT(said, Contains(HasSubstr("the cache is damaged")));
  pool.join();
}

}  // namespace
}  // namespace mcpbox::provision
