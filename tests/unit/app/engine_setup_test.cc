#include "app/compose/engine_setup.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <string>

#include "support/result_matcher.h"
#include "support/temp_tree.h"

namespace mcpbox::app {
namespace {

TEST(EngineSetup, an_engine_that_shows_no_folders_of_this_machine_is_refused_with_what_to_do) {
  box::EngineInfo info;
  info.address = "tcp://10.0.0.5:2375";
  EXPECT_THAT(check_engine(info), test::succeeds());
  info.traits.binds_host_folders = false;
  EXPECT_THAT(check_engine(info), test::fails(Code::kUnsupported, "tcp://10.0.0.5:2375"));
  EXPECT_THAT(check_engine(info), test::fails(Code::kUnsupported, "--engine unix:///PATH"));
  info.traits.binds_host_folders = true;
  info.traits.passes_descriptors = false;
  EXPECT_THAT(check_engine(info), test::fails(Code::kUnsupported, "over the network"));
}

struct NativeHome : testing::Test {
  test::TempTree tree;
  void SetUp() override {
    ::setenv("MCPBOX_STATE_DIR", tree.path("usual").c_str(), 1);
    ::setenv("MCPBOX_RUN_DIR", tree.path("run").c_str(), 1);
    tree.file("init", "", 0755);
    ::setenv("MCPBOX_INIT", tree.path("init").c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"MCPBOX_STATE_DIR", "MCPBOX_RUN_DIR", "MCPBOX_INIT"}) ::unsetenv(name);
  }
  std::string home(const std::string& state_dir) {
    const auto options = locator_options("native", state_dir);
    EXPECT_THAT(options, test::succeeds());
    return options ? options->host_system.state_dir : "";
  }
};

TEST_F(NativeHome, is_the_daemons_own_state_directory) {
  EXPECT_EQ(home(""), tree.path("usual"));
  EXPECT_EQ(home(tree.path("own")), tree.path("own"));
  EXPECT_FALSE(has_native_sandboxes(tree.path("own")));
  tree.dir("own/native/sandboxes/mcpbox-x");
  EXPECT_TRUE(has_native_sandboxes(tree.path("own")));
}

TEST_F(NativeHome, stays_where_an_earlier_version_put_the_volumes_of_this_instance) {
  ASSERT_EQ(home(tree.path("own")), tree.path("own"));
  tree.file("own/instance", "0123456789abcdef0123456789abcdef\n");
  tree.dir("usual/native/volumes/mcpbox-99999999-cache");
  EXPECT_EQ(home(tree.path("own")), tree.path("own")) << "that is another instance's";
  tree.dir("usual/native/volumes/mcpbox-01234567-cache");
  EXPECT_EQ(home(tree.path("own")), tree.path("usual"));
}

}  // namespace
}  // namespace mcpbox::app
