#include "box/idle_groups.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/result_matcher.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;
using test::fails;
using test::succeeds;

// Folders in place of control groups: those can be removed with the files that the kernel shows in them, these cannot.
struct IdleGroups : testing::Test {
  test::TempTree tree;
  UniqueFd hierarchy{::open(tree.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  bool there(const std::string& path) { return fs::exists(tree.path(path)); }
};

TEST_F(IdleGroups, are_none_where_the_kernel_has_none) {
  EXPECT_THAT(make_idle_group(hierarchy.get(), "docker/id"), fails(Code::kUnsupported));
  EXPECT_FALSE(there("mcpbox.idle"));
  sweep_idle_groups(hierarchy.get());
}

TEST_F(IdleGroups, mirror_the_path_of_the_group_and_nothing_else) {
  tree.file("mcpbox.idle/cpu.idle", "0");
  for (int time = 0; time < 2; ++time)
    EXPECT_THAT(make_idle_group(hierarchy.get(), "docker/id/servers"), succeeds()) << "as before";
  EXPECT_TRUE(there("mcpbox.idle/docker/id/servers"));
  for (const char* path : {"", "..", "a/../b", "a//b", "./a"})
    EXPECT_THAT(make_idle_group(hierarchy.get(), path), fails(Code::kInvalidArgument)) << path;
  tree.dir("elsewhere");
  fs::create_directory_symlink(tree.path("elsewhere"), tree.path("mcpbox.idle/link"));
  EXPECT_FALSE(make_idle_group(hierarchy.get(), "link/x"));
  EXPECT_FALSE(there("elsewhere/x"));
}

TEST_F(IdleGroups, of_nobody_are_removed_and_others_stay) {
  tree.file("mcpbox.idle/cpu.idle", "0");
  for (const char* path :
       {"docker/lives/servers/s1", "docker/lives/servers/gone", "docker/dead/servers/s1", "mcpbox/b"})
    ASSERT_THAT(make_idle_group(hierarchy.get(), path), succeeds());
  tree.dir("docker/lives/servers/s1");
  tree.dir("mcpbox");
  tree.file("mcpbox.idle/mcpbox/b/somebody");  // as a process does
  tree.dir("outside/kept");
  fs::create_directory_symlink(tree.path("outside"), tree.path("mcpbox.idle/docker/link"));
  sweep_idle_groups(hierarchy.get());
  EXPECT_TRUE(there("mcpbox.idle/docker/lives/servers/s1"));
  EXPECT_FALSE(there("mcpbox.idle/docker/lives/servers/gone"));
  EXPECT_FALSE(there("mcpbox.idle/docker/dead"));
  EXPECT_TRUE(there("mcpbox.idle/mcpbox/b"));
  EXPECT_TRUE(there("outside/kept"));
}

}  // namespace
}  // namespace mcpbox::box
