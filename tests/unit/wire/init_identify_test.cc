// What PID 1 says about the places that folders are mounted at.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "box/init/identify.h"
#include "support/temp_tree.h"

namespace mcpbox::box::init {
namespace {

TEST(Identify, names_the_inode_and_follows_no_link) {
  test::TempTree tree;
  tree.dir("a/b");
  tree.link("to_a", "a");
  tree.link("a/to_b", "b");
  tree.file("file");
  struct stat info{};
  ASSERT_EQ(::stat(tree.path("a/b").c_str(), &info), 0);
  EXPECT_EQ(identify(tree.path("a/b")), (wire::Identity{info.st_dev, info.st_ino, 0}));
  ASSERT_EQ(::stat(tree.path("file").c_str(), &info), 0);
  EXPECT_EQ(identify(tree.path("file")), (wire::Identity{info.st_dev, info.st_ino, 0}));
  EXPECT_EQ(identify(tree.path("to_a/b")).error, ELOOP);
  EXPECT_EQ(identify(tree.path("a/to_b")).error, ELOOP);
  EXPECT_EQ(identify(tree.path("a/nothing")).error, ENOENT);
  EXPECT_EQ(identify(tree.path("file/x")).error, ENOTDIR);
  EXPECT_EQ(identify(tree.path("a/../a/b")).error, EINVAL);
  EXPECT_EQ(identify("relative").error, EINVAL);
}

TEST(Identify, sees_what_is_mounted_and_not_what_lies_below) {
  struct stat above{}, proc{};
  ASSERT_EQ(::stat("/", &above), 0);
  ASSERT_EQ(::stat("/proc", &proc), 0);
  ASSERT_NE(above.st_dev, proc.st_dev);
  EXPECT_EQ(identify("/proc").device, proc.st_dev);
  const wire::IdentifyReply reply = identify(wire::Identify{{"/proc", "/"}});
  ASSERT_EQ(reply.found.size(), 2u);
  EXPECT_EQ(reply.found[1].device, above.st_dev);
}

}  // namespace
}  // namespace mcpbox::box::init
