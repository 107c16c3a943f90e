// Plans over folders of the test.
#pragma once

#include <gtest/gtest.h>

#include "support/result_matcher.h"
#include "support/temp_tree.h"
#include "workspace/plan.h"

namespace mcpbox::workspace {

class Planning : public ::testing::Test {
 protected:
  Policy policy() {
    return {.allowed_roots = {tree_.root()},
            .workspace = "/workspace/.mcp/s/workspace",
            .image_id = "i1",
            .home = tree_.path("home/u")};
  }
  Policy run_policy() {
    Policy result = policy();
    result.same_paths = true;
    result.infer = false;
    return result;
  }
  Plan plan(const LaunchSpec& spec) { return plan(spec, policy()); }
  Plan plan(const LaunchSpec& spec, const Policy& policy) {
    auto made = make_plan(spec, policy);
    EXPECT_THAT(made, test::succeeds());
    return made.value_or(Plan{});
  }
  test::TempTree tree_;
};

}  // namespace mcpbox::workspace
