#include "app/compose/daemon_engine.h"

#include <gtest/gtest.h>

#include "support/temp_tree.h"

namespace mcpbox::app {
namespace {

TEST(DaemonEngine, is_noted_in_the_state_directory) {
  test::TempTree tree;
  EXPECT_EQ(daemon_engine(tree.root()), "");
  ASSERT_TRUE(note_daemon_engine(tree.root(), "unix:///run/docker.sock"));
  EXPECT_EQ(daemon_engine(tree.root()), "unix:///run/docker.sock");
  ASSERT_TRUE(note_daemon_engine(tree.root(), "native"));
  EXPECT_EQ(daemon_engine(tree.root()), "native");
  tree.file("daemon.engine", "something else");
  EXPECT_EQ(daemon_engine(tree.root()), "");
}

TEST(DaemonEngine, the_one_that_runs_comes_before_the_configured_one_and_that_before_the_last) {
  EXPECT_EQ(choose_engine({"native", "unix:///b", "unix:///c", "unix:///d"}, "/s").address, "native");
  EXPECT_EQ(choose_engine({"", "native", "unix:///c", "native"}, "/s").address, "native");
  EXPECT_EQ(choose_engine({"", "", "unix:///c", "native"}, "/s").address, "unix:///c");
  EXPECT_EQ(choose_engine({"", "", "auto", "native"}, "/s").address, "native");
  EXPECT_EQ(choose_engine({"", "", "", ""}, "/s").address, "auto");
}

TEST(DaemonEngine, says_of_a_noted_address_that_it_was_noted_and_where) {
  EXPECT_EQ(choose_engine({"", "", "", "unix:///d"}, "/s").named_by, "the newest daemon's note /s/daemon.engine");
  EXPECT_EQ(choose_engine({"", "unix:///d", "", ""}, "/s").named_by, "the newest daemon's note /s/daemon.engine");
  EXPECT_EQ(choose_engine({"", "", "unix:///c", "unix:///d"}, "/s").named_by, "");
}

}  // namespace
}  // namespace mcpbox::app
