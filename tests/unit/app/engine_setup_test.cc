#include "app/compose/engine_setup.h"

#include <gmock/gmock.h>

#include "support/result_matcher.h"

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

}  // namespace
}  // namespace mcpbox::app
