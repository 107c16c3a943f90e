// An installation as a whole, with a PID 1 in memory.
#include "provision/install/installer.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using testing::Contains;
using testing::HasSubstr;

const std::string kHash(32, 'a');
const std::string kComplete = "/cache/env/" + kHash + "/complete";

// Every step of an installation ends well at once. Nobody can look through the cache when it is done.
struct Installing final : test::NoEngine {
  test::FakeTree& tree;
  std::vector<std::string> asked;  // of PID 1
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
      asked.push_back(name);
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

// Kind: the environment of a folder has what another folder has. It is named after one walk and filled by another.
TEST(Installer, fills_no_environment_with_what_it_is_not_named_after) {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool(2);
  const test::TempTree host;
  host.file("p/pyproject.toml", "[build-system]\nrequires=[]\n[project]\nname='x'\nversion='1'\n");
  host.file("p/x.py", "genuine");
  const workspace::LaunchSpec spec{.name = "one", .command = "python", .args = {"-m", "x"}, .cwd = host.path("p")};
  const workspace::Policy policy{.allowed_roots = {host.root()}, .image_id = "i"};
  auto plan = workspace::make_plan(spec, policy);
  ASSERT_TRUE(plan && plan->install && !plan->install->sources.empty());
  const std::string tree_of_plan = "/cache/env/" + plan->install->hash;

  const auto install = [&](test::FakeTree& tree, Installing& engine) {
    InstallerOptions options;
    options.sandbox.instance = std::string(32, 'b');
    options.policy.allowed_roots = {host.root()};
    Installer installer(engine, loop.get_executor(), pool, std::move(options));
    InstallRequest request;
    request.subject = "one";
    request.plan = *plan;
    test::FakeSupervisor reader(tree);
    return test::run_task(loop, installer.ensure(reader, std::move(request)));
  };
  test::FakeTree good_tree;
  Installing good(good_tree);
  EXPECT_THAT(install(good_tree, good), test::succeeds());
  EXPECT_TRUE(good_tree.has(tree_of_plan + "/complete"));
  for (const auto& change : std::vector<std::function<void()>>{
           [&] { host.file("p/x.py", "POISONED"); },
           [&] { host.file("p/x.py", "genuine", 0755); },
           [&] { std::filesystem::remove(host.path("p/x.py")); },
           [&] { host.dir("p/more"); },
           [&] { host.link("p/y.py", "x.py"); },
       }) {
    change();
    test::FakeTree tree;
    Installing engine(tree);
    EXPECT_THAT(install(tree, engine), test::fails(Code::kAborted, "changed between planning and installing"));
    EXPECT_THAT(engine.asked, testing::Not(Contains("spawn")));
    EXPECT_FALSE(tree.has(tree_of_plan));
    for (const char* left : {"p/more", "p/y.py"}) std::filesystem::remove(host.path(left));
    host.file("p/x.py", "genuine", 0644);
  }
  pool.join();
}

}  // namespace
}  // namespace mcpbox::provision
