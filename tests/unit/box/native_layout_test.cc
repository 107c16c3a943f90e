#include <gtest/gtest.h>

#include <algorithm>

#include "box/native/layout.h"
#include "box/native/owners.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

using wire::BuildNode;

const BuildNode* at(const NativeLayout& layout, std::string_view target) {
  const auto found = std::ranges::find(layout.nodes, target, &BuildNode::target);
  return found == layout.nodes.end() ? nullptr : &*found;
}

TEST(NativeLayout, shows_the_system_read_only_and_nothing_of_people) {
  auto layout = native_layout({}, {"", "/s/box", "/v"});
  ASSERT_TRUE(layout);
  ASSERT_NE(at(*layout, "/usr"), nullptr);
  EXPECT_TRUE(at(*layout, "/usr")->read_only);
  for (const char* path : {"/home", "/root", "/var", "/srv", "/sys", "/opt", "/etc", "/dev", "/mnt"})
    EXPECT_EQ(at(*layout, path), nullptr) << path;
  for (const BuildNode& node : layout->nodes) {
    if (node.kind == BuildNode::Kind::kBind) EXPECT_TRUE(node.read_only) << node.target;
  }
  EXPECT_EQ(at(*layout, "/etc/passwd")->kind, BuildNode::Kind::kFile);
}

TEST(NativeLayout, puts_inner_mounts_after_outer_ones_and_replaces_its_own_memory_mounts) {
  test::TempTree tree;
  SandboxSpec spec;
  spec.profile.mounts = {{Mount::Kind::kBind, tree.dir("inner"), "/data/a/b", false, 0},
                         {Mount::Kind::kVolume, "keep", "/data", false, 0},
                         {Mount::Kind::kScratch, "", "/tmp", false, 0}};
  auto layout = native_layout(spec, {"", "/s/box", "/v"});
  ASSERT_TRUE(layout);
  const auto index = [&](std::string_view target) {
    return std::ranges::find(layout->nodes, target, &BuildNode::target) - layout->nodes.begin();
  };
  EXPECT_LT(index("/data"), index("/data/a/b"));
  EXPECT_EQ(at(*layout, "/data")->source, "/v/keep/data");
  EXPECT_EQ(at(*layout, "/tmp")->source, "/s/box/scratch/0");
  EXPECT_EQ(std::ranges::count(layout->nodes, "/tmp", &BuildNode::target), 1);
  EXPECT_EQ(layout->volumes, std::vector<std::string>{"keep"});
}

TEST(NativeLayout, takes_a_rootfs_without_what_the_sandbox_has_of_its_own) {
  test::TempTree tree;
  for (const char* name : {"usr", "etc", "dev", "proc", "sys", "tmp", "run", "var"}) tree.dir(name);
  tree.link("bin", "usr/bin");
  auto layout = native_layout({}, {tree.root(), "/s/box", "/v"});
  ASSERT_TRUE(layout);
  EXPECT_EQ(at(*layout, "/usr")->source, tree.path("usr"));
  EXPECT_EQ(at(*layout, "/bin")->kind, BuildNode::Kind::kLink);
  EXPECT_EQ(at(*layout, "/tmp")->kind, BuildNode::Kind::kMemory);
  for (const char* path : {"/dev", "/proc", "/sys"}) EXPECT_EQ(at(*layout, path), nullptr);
  EXPECT_EQ(native_layout({}, {"/nonexistent", "/s", "/v"}).error().code(), Code::kNotFound);
}

// The kind of attack that tests/attack/mount_race_test.py has: here the exchange comes before the layout.
TEST(NativeLayout, never_resolves_the_path_of_a_judged_folder_again) {
  test::TempTree tree;
  tree.dir("vault");
  SandboxSpec spec;
  spec.profile.mounts = {{Mount::Kind::kBind, tree.link("sub", "vault"), "/x", true, 0, 0755, sys::FileId{5, 77}}};
  auto layout = native_layout(spec, {"", "/s/box", "/v"});
  ASSERT_TRUE(layout);
  const BuildNode* bound = at(*layout, "/x");
  ASSERT_NE(bound, nullptr);
  EXPECT_EQ(bound->source, tree.path("sub"));
  EXPECT_TRUE(bound->judged);
  EXPECT_EQ(bound->device, 5u);
  EXPECT_EQ(bound->inode, 77u);
}

TEST(NativeLayout, takes_owners_of_judged_folders_only) {
  test::TempTree tree;
  SandboxSpec spec;
  const auto id = sys::reach_directory(tree.dir("a"))->chain.front();
  spec.profile.mounts = {{Mount::Kind::kBind, tree.path("a"), "/x", true, 0, 0755, id}};
  auto owners = owners_of(spec);
  ASSERT_TRUE(owners);
  EXPECT_EQ(*owners, (std::vector<std::pair<uid_t, gid_t>>{{::geteuid(), ::getegid()}}));
  std::filesystem::rename(tree.path("a"), tree.path("aside"));
  tree.dir("a");
  EXPECT_EQ(owners_of(spec).error().code(), Code::kAborted);
}

TEST(NativeLayout, names_a_bound_folder_that_is_not_there) {
  SandboxSpec spec;
  spec.profile.mounts = {{Mount::Kind::kBind, "/nonexistent/folder", "/x", true, 0}};
  auto layout = native_layout(spec, {"", "/s/box", "/v"});
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code(), Code::kNotFound);
  EXPECT_NE(layout.error().message().find("/nonexistent/folder"), std::string::npos);
}

}  // namespace
}  // namespace mcpbox::box
