#include "app/compose/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "support/temp_tree.h"

namespace mcpbox::app {
namespace {

using testing::HasSubstr;
using workspace::Access;
using workspace::RootMode;

TEST(RunEnvironment, takes_values_and_passes_our_own_on) {
  ::setenv("MCPBOX_TEST_VALUE", "ours", 1);
  const auto env = run_environment({"A=1", "B=x=y", "C=", "MCPBOX_TEST_VALUE", "A=2"});
  ::unsetenv("MCPBOX_TEST_VALUE");
  ASSERT_TRUE(env);
  EXPECT_EQ(*env,
            (std::map<std::string, std::string>{{"A", "2"}, {"B", "x=y"}, {"C", ""}, {"MCPBOX_TEST_VALUE", "ours"}}));
}

TEST(RunEnvironment, refuses_what_has_no_name_or_no_value) {
  for (const char* bad : {"=x", "", "MCPBOX_TEST_NOT_SET", "1BAD=x", "A-B=x", "A B=x", "\xc3\xa4=x"}) {
    const auto env = run_environment({bad});
    ASSERT_FALSE(env) << bad;
    EXPECT_EQ(env.error().code(), Code::kInvalidArgument);
  }
}

struct RunPlanTest : testing::Test {
  test::TempTree tree;
  RunOptions options;
  RunPlanTest() { options.command = {"some-server", "--flag"}; }
  Result<workspace::Plan> plan() { return run_plan(options, {}, "sha256:0"); }
};

TEST_F(RunPlanTest, shows_nothing_of_the_host_unless_asked) {
  options.command.push_back(tree.dir("data"));
  const auto made = plan();
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_TRUE(made->roots.empty());
  ASSERT_FALSE(made->hints.empty());
  EXPECT_THAT(made->hints[0], HasSubstr(tree.path("data")));
}

TEST_F(RunPlanTest, a_mount_is_read_only_unless_it_says_rw) {
  tree.dir("a");
  tree.dir("b");
  tree.dir("c");
  options.mounts = {tree.path("a"), tree.path("b") + ":rw", tree.path("c") + ":ro"};
  const auto made = plan();
  ASSERT_TRUE(made) << made.error().message();
  ASSERT_EQ(made->roots.size(), 3u);
  for (const workspace::Root& root : made->roots) {
    EXPECT_EQ(root.mode, RootMode::kBind);
    EXPECT_EQ(root.host, root.mount);
    EXPECT_EQ(root.access, root.host == tree.path("b") ? Access::kReadWrite : Access::kReadOnly) << root.host;
  }
}

TEST_F(RunPlanTest, every_staged_folder_appears_at_its_own_path_and_may_be_written) {
  options.stage = {tree.dir("one"), tree.dir("two")};
  const auto made = plan();
  ASSERT_TRUE(made) << made.error().message();
  ASSERT_EQ(made->roots.size(), 2u);
  for (const workspace::Root& root : made->roots) {
    EXPECT_EQ(root.mode, RootMode::kStage);
    EXPECT_EQ(root.host, root.mount);
    EXPECT_EQ(root.access, Access::kReadWrite);
  }
}

TEST_F(RunPlanTest, a_link_is_followed_to_what_it_names) {
  tree.dir("real");
  options.stage = {tree.link("link", tree.path("real"))};
  const auto made = plan();
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->roots.at(0).host, tree.path("real"));
}

TEST_F(RunPlanTest, a_folder_that_is_not_there_is_named_with_its_option) {
  options.stage = {tree.path("nope")};
  auto made = plan();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(made.error().message(), HasSubstr("--stage"));
  options.stage.clear();
  options.mounts = {tree.path("nope") + ":rw"};
  made = plan();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), HasSubstr("--mount"));
}

TEST_F(RunPlanTest, a_rootfs_is_a_folder_of_this_host_by_its_whole_name) {
  options.rootfs = tree.link("link", tree.dir("rootfs"));
  ASSERT_TRUE(resolve_rootfs(options));
  EXPECT_EQ(options.image, tree.path("rootfs"));
  for (const std::string& bad : {tree.path("nope"), tree.file("file", "")}) {
    options.rootfs = bad;
    const auto resolved = resolve_rootfs(options);
    ASSERT_FALSE(resolved);
    EXPECT_EQ(resolved.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(resolved.error().message(), HasSubstr("--rootfs"));
  }
}

TEST_F(RunPlanTest, folders_for_offline_installs_are_said_to_be_of_no_use_otherwise) {
  options.wheelhouse = tree.dir("wheels");
  EXPECT_THAT(plan()->hints, testing::Contains(HasSubstr("--install-mode offline")));
  options.install_mode = "offline";
  EXPECT_THAT(plan()->hints, testing::Not(testing::Contains(HasSubstr("--install-mode offline"))));
}

TEST_F(RunPlanTest, a_mounted_folder_whose_owner_may_run_nothing_is_foreseen) {
  tree.dir("a");
  ASSERT_EQ(::chown(tree.path("a").c_str(), 65534, 0), 0) << "run the tests as root";
  options.mounts = {tree.path("a") + ":rw"};
  auto made = plan();
  ASSERT_TRUE(made) << made.error().message();
  foresee_user(*made);
  ASSERT_EQ(made->refused.size(), 1u);
  EXPECT_THAT(made->refused[0].reason, HasSubstr(tree.path("a") + " belongs to user 65534 and group 0"));
}

TEST_F(RunPlanTest, toolchains_are_told_of_where_they_may_be_shown) {
  workspace::Plan plan;
  explain_toolchains(plan, "unix:///run/x.sock", "");
  explain_toolchains(plan, "auto", "/srv/rootfs");
  explain_toolchains(plan, "auto", "debian:12");
  EXPECT_TRUE(plan.why.empty());
}

TEST_F(RunPlanTest, the_whole_file_system_is_no_folder_to_mount) {
  options.mounts = {"/:rw"};
  const auto made = plan();
  EXPECT_TRUE(!made || !made->refused.empty());
}

}  // namespace
}  // namespace mcpbox::app
