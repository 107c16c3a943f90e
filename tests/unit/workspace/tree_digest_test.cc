#include "workspace/tree_digest.h"

#include <gtest/gtest.h>

#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

TEST(TreeDigest, is_of_the_content_and_not_of_the_place) {
  const test::TempTree tree;
  for (const char* root : {"p", "q"}) {
    tree.file(std::string(root) + "/a/f", "1");
    tree.link(std::string(root) + "/l", "a/f");
    tree.file(std::string(root) + "/.git/x", root);
  }
  auto digest = [&](const char* relative) { return *tree_digest(tree.path(relative), {tree.root()}, {}); };
  std::string before = digest("p");
  EXPECT_EQ(before, digest("q"));
  tree.file("p/a/f", "2");
  EXPECT_NE(before, digest("p"));
  tree.file("p/a/f", "1", 0755);
  EXPECT_NE(before, digest("p"));
  tree.file("p/a/f", "1", 0644);
  EXPECT_EQ(before, digest("p"));
  tree.dir("p/empty");
  EXPECT_NE(before, digest("p"));
}

TEST(TreeDigest, notes_what_it_is_of) {
  const test::TempTree tree;
  tree.file("p/a/f", "1");
  tree.link("p/l", "a/f");
  TreeContents contents;
  ASSERT_TRUE(tree_digest(tree.path("p"), {tree.root()}, {}, nullptr, {}, &contents));
  EXPECT_EQ(contents.files, (std::map<std::string, std::string>{{"a/f", sha256_hex("1")}}));
  EXPECT_EQ(contents.links, (std::map<std::string, std::string>{{"l", "a/f"}}));
}

TEST(TreeDigest, knows_what_opens_behind_the_links_of_a_tree) {
  TreeContents contents;
  contents.links = {{"l", "a/f"}, {"d", "a"}, {"a/up", "../l"}, {"one", "two"}, {"two", "one"}};
  EXPECT_EQ(contents.behind_links("x/y"), "x/y");
  EXPECT_EQ(contents.behind_links("l"), "a/f");
  EXPECT_EQ(contents.behind_links("d/f"), "a/f");
  EXPECT_EQ(contents.behind_links("d/up"), "a/f");
  EXPECT_NE(contents.behind_links("one"), "");  // ends
}

}  // namespace
}  // namespace mcpbox::workspace
