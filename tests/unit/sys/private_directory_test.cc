#include "sys/private_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "support/temp_tree.h"

namespace mcpbox::sys {
namespace {

TEST(PrivateDirectory, is_made_with_its_parents_and_taken_again) {
  const test::TempTree tree;
  EXPECT_FALSE(make_private_directory(tree.path("a/b")));
  EXPECT_TRUE(make_private_path(tree.path("a/b")));
  EXPECT_EQ(make_private_directory(tree.path("a/c")).value_or(false), true);
  EXPECT_EQ(make_private_directory(tree.path("a/c")).value_or(true), false);
  struct stat status{};
  ASSERT_EQ(::lstat(tree.path("a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(PrivateDirectory, one_that_others_may_enter_a_link_and_a_file_are_refused) {
  const test::TempTree tree;
  tree.dir("open");
  ::chmod(tree.path("open").c_str(), 0710);
  tree.dir("ours");
  ::chmod(tree.path("ours").c_str(), 0700);
  tree.link("link", "ours");
  tree.file("file");
  const std::pair<const char*, std::string> cases[] = {{"open", "has mode 0710: `chmod 700 " + tree.path("open") + "`"},
                                                       {"link", "is a link: remove it"},
                                                       {"file", "is none: remove it"}};
  for (const auto& [name, why] : cases) {
    const auto refused = make_private_directory(tree.path(name));
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code(), Code::kPermissionDenied) << name;
    EXPECT_TRUE(refused.error().message().ends_with("that nobody else can enter, and " + why))
        << refused.error().message();
  }
}

}  // namespace
}  // namespace mcpbox::sys
