#include "hosting/flow_budget.h"

#include <gtest/gtest.h>

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(FlowBudget, allows_a_burst_and_then_its_rate) {
  FlowBudget budget(1000, 4000);
  FlowBudget::Clock::time_point now{seconds(5)};
  budget.charge(4000, now);
  EXPECT_EQ(budget.wait(now), seconds(0));
  budget.charge(1000, now);
  EXPECT_TRUE(budget.spent(now));
  EXPECT_EQ(budget.wait(now), seconds(1));
  now += milliseconds(999);
  EXPECT_TRUE(budget.spent(now));
  now += milliseconds(2);
  EXPECT_FALSE(budget.spent(now));
}

TEST(FlowBudget, never_saves_up_more_than_the_burst_and_does_not_mind_a_clock_that_stands) {
  FlowBudget budget(1000, 100);
  FlowBudget::Clock::time_point now{seconds(1)};
  budget.charge(0, now);
  now += seconds(3600);
  budget.charge(101, now);
  EXPECT_TRUE(budget.spent(now));
  EXPECT_TRUE(budget.spent(now));
}

}  // namespace
}  // namespace mcpbox::hosting
