#include "provision/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mcpbox::provision {
namespace {

using testing::HasSubstr;
using workspace::Access;
using workspace::Plan;
using workspace::Root;
using workspace::RootMode;

Root root(RootMode mode, Access access, std::string host, std::string mount, uid_t uid = 1000, gid_t gid = 1000) {
  Root out;
  out.host = std::move(host);
  out.mount = std::move(mount);
  out.mode = mode;
  out.access = access;
  out.owner_uid = uid;
  out.owner_gid = gid;
  return out;
}

Plan plan(std::vector<Root> roots) {
  Plan out;
  out.roots = std::move(roots);
  return out;
}

TEST(Mounts, a_copy_in_the_workspace_needs_none) {
  EXPECT_TRUE(
      mounts_for(plan({root(RootMode::kStage, Access::kReadWrite, "/h", "/workspace/.mcp/x/workspace")})).empty());
}

TEST(Mounts, a_copy_at_the_hosts_path_gets_a_scratch_volume) {
  const auto mounts = mounts_for(plan({root(RootMode::kStage, Access::kReadOnly, "/home/u/p", "/home/u/p")}));
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0], (box::Mount{box::Mount::Kind::kScratch, "", "/home/u/p", false, 0}));
}

TEST(Mounts, a_folder_beside_the_workspace_whose_name_begins_alike_is_not_in_it) {
  EXPECT_EQ(mounts_for(plan({root(RootMode::kStage, Access::kReadOnly, "/workspace2", "/workspace2")})).size(), 1u);
}

TEST(Mounts, a_bound_folder_is_read_only_unless_asked_otherwise) {
  const auto mounts = mounts_for(plan(
      {root(RootMode::kBind, Access::kReadOnly, "/a", "/a"), root(RootMode::kBind, Access::kReadWrite, "/b", "/b")}));
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_TRUE(mounts[0].read_only);
  EXPECT_FALSE(mounts[1].read_only);
  EXPECT_EQ(mounts[1].kind, box::Mount::Kind::kBind);
}

TEST(Mounts, a_bound_folder_stays_the_one_that_was_judged) {
  Root judged = root(RootMode::kBind, Access::kReadOnly, "/a", "/a");
  judged.id = sys::FileId{5, 77};
  EXPECT_EQ(mounts_for(plan({judged}))[0].judged, judged.id);
}

TEST(User, is_the_servers_own_without_bound_folders) {
  const auto user =
      user_for(plan({root(RootMode::kStage, Access::kReadWrite, "/h", "/workspace/x", 0, 0)}), 1'900'000'007);
  ASSERT_TRUE(user);
  EXPECT_EQ(*user, (std::pair<uid_t, gid_t>{1'900'000'007, 1'900'000'007}));
}

TEST(User, is_the_owner_of_a_bound_folder) {
  const auto user = user_for(plan({root(RootMode::kBind, Access::kReadWrite, "/h", "/h", 1000, 1001)}), 7);
  ASSERT_TRUE(user);
  EXPECT_EQ(*user, (std::pair<uid_t, gid_t>{1000, 1001}));
}

TEST(User, is_never_root) {
  const auto writable = user_for(plan({root(RootMode::kBind, Access::kReadWrite, "/h", "/h", 0, 0)}), 7);
  ASSERT_FALSE(writable);
  EXPECT_EQ(writable.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(writable.error().message(), HasSubstr("/h belongs to user 0 and group 0"));
  // A group of root's alone would be as bad.
  EXPECT_FALSE(user_for(plan({root(RootMode::kBind, Access::kReadWrite, "/h", "/h", 1000, 0)}), 7));
  const auto readable = user_for(plan({root(RootMode::kBind, Access::kReadOnly, "/h", "/h", 0, 0)}), 7);
  ASSERT_TRUE(readable);
  EXPECT_EQ(readable->first, 7u);
}

TEST(User, folders_of_two_users_are_refused_by_name) {
  const auto user = user_for(plan({root(RootMode::kBind, Access::kReadOnly, "/a", "/a", 1000, 1000),
                                   root(RootMode::kBind, Access::kReadOnly, "/b", "/b", 1001, 1001)}),
                             7);
  ASSERT_FALSE(user);
  EXPECT_THAT(user.error().message(), HasSubstr("/a and /b"));
}

}  // namespace
}  // namespace mcpbox::provision
