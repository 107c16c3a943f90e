#include "workspace/host_view.h"

#include <gtest/gtest.h>

#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

TEST(HostView, tells_which_python_a_root_file_system_has) {
  test::TempTree tree;
  tree.file("root/usr/bin/python3.13", "");
  tree.link("root/usr/bin/python3", "python3.13");
  EXPECT_EQ(python_minor_of(tree.path("root")), 13u);
  tree.link("other/usr/bin/python3", "/opt/python3.x");
  EXPECT_EQ(python_minor_of(tree.path("other")), std::nullopt);
  EXPECT_EQ(python_minor_of(tree.path("none")), std::nullopt);
  EXPECT_EQ(python_minor_of("sha256:0123"), 11u);
}

TEST(HostView, tells_one_state_of_a_root_file_system_from_the_next) {
  test::TempTree tree;
  tree.file("root/usr/bin/python3.13", "a");
  tree.link("root/usr/bin/python3", "python3.13");
  const std::string before = platform_of(tree.path("root"));
  EXPECT_EQ(before, platform_of(tree.path("root")));
  tree.file("root/usr/bin/python3.13", "ab");
  const std::string after = platform_of(tree.path("root"));
  EXPECT_NE(before, after);
  tree.file("root/usr/local/bin/uv", "u");
  EXPECT_NE(after, platform_of(tree.path("root")));
  // The id of an image says all but the processor.
  EXPECT_EQ(platform_of("sha256:0123"), platform_of("host:4f"));
  EXPECT_TRUE(before.starts_with(platform_of("sha256:0123") + " ")) << before;
  EXPECT_EQ(platform_of(tree.path("none")), platform_of("sha256:0123"));
}

}  // namespace
}  // namespace mcpbox::workspace
