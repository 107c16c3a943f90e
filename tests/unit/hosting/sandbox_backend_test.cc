// What `mcpbox down` takes away, and what it leaves.
#include "hosting/sandbox_backend.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <map>
#include <set>

#include "support/no_engine.h"
#include "support/run_task.h"
#include "sys/process_name.h"

namespace mcpbox::hosting {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kInstance(32, 'a');
const std::string kCache = "mcpbox-aaaaaaaa-cache";
const std::string kDead = "boot:1:1";

struct Holding final : test::NoEngine {
  std::map<std::string, box::Labels> sandboxes;
  std::set<std::string> volumes{kCache, "one-work", "scratch"};
  std::set<std::string> used;

  Task<Result<std::vector<box::SandboxState>>> list(box::Labels) override {
    std::vector<box::SandboxState> out;
    for (const auto& [name, labels] : sandboxes) out.push_back({name, name, labels, true, std::nullopt, false});
    co_return out;
  }
  Task<Result<void>> remove(std::string id) override {
    sandboxes.erase(id);
    co_return Result<void>{};
  }
  Task<Result<std::vector<std::string>>> list_volumes(box::Labels) override {
    co_return std::vector<std::string>(volumes.begin(), volumes.end());
  }
  Task<Result<void>> remove_volume(std::string name) override {
    if (used.contains(name)) co_return fail(Code::kFailedPrecondition, name + " is in use");
    volumes.erase(name);
    co_return Result<void>{};
  }
};

struct DownTest : testing::Test {
  boost::asio::io_context loop;
  Holding engine;
  DownTest() {
    engine.sandboxes["shared"] = {};
    engine.sandboxes["run-dead"] = {{box::kOwnerLabel, kDead}};
  }
  Result<Removed> down(bool volumes) { return test::run_task(loop, remove_everything(engine, kInstance, volumes)); }
};

TEST_F(DownTest, takes_the_daemons_sandboxes_and_those_of_dead_processes) {
  auto removed = down(true);
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->sandboxes, 2u);
  EXPECT_EQ(removed->volumes, 3u);
  EXPECT_THAT(removed->left, IsEmpty());
  EXPECT_THAT(removed->left_volumes, IsEmpty());
  EXPECT_THAT(engine.sandboxes, IsEmpty());
}

TEST_F(DownTest, leaves_those_of_a_run_that_lives_and_what_they_use) {
  engine.sandboxes["run-live"] = {{box::kOwnerLabel, sys::own_process().value()}};
  engine.used = {"scratch"};
  auto removed = down(true);
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(removed->sandboxes, 2u);
  EXPECT_THAT(removed->left, ElementsAre("run-live (process " + std::to_string(::getpid()) + ")"));
  EXPECT_THAT(removed->left_volumes, ElementsAre(kCache, "scratch"));
  EXPECT_THAT(engine.volumes, ElementsAre(kCache, "scratch"));
  EXPECT_TRUE(engine.sandboxes.contains("run-live"));
}

TEST_F(DownTest, a_volume_in_use_by_nobody_that_was_left_is_an_error) {
  engine.used = {"scratch"};
  EXPECT_FALSE(down(true));
}

}  // namespace
}  // namespace mcpbox::hosting
