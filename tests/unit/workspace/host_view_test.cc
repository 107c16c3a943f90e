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

}  // namespace
}  // namespace mcpbox::workspace
