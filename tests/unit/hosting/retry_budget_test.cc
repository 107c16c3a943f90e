#include "hosting/retry_budget.h"

#include <gtest/gtest.h>

namespace mcpbox::hosting {
namespace {

using std::chrono::seconds;

TEST(RetryBudget, gives_three_growing_delays_and_then_none) {
  RetryBudget budget;
  const RetryBudget::Clock::time_point now{};
  EXPECT_EQ(budget.on_failure(now, std::nullopt), seconds(2));
  EXPECT_EQ(budget.on_failure(now, std::nullopt), seconds(4));
  EXPECT_EQ(budget.on_failure(now, std::nullopt), seconds(8));
  EXPECT_EQ(budget.on_failure(now, std::nullopt), std::nullopt);
  EXPECT_EQ(budget.on_failure(now, std::nullopt), std::nullopt);
  EXPECT_EQ(budget.used(), 3u);
}

TEST(RetryBudget, is_full_again_after_a_stable_minute_and_not_before) {
  RetryBudget budget;
  const RetryBudget::Clock::time_point start{};
  for (int i = 0; i < 3; ++i) (void)budget.on_failure(start, std::nullopt);
  EXPECT_EQ(budget.on_failure(start + seconds(59), start), std::nullopt);
  EXPECT_EQ(budget.on_failure(start + seconds(60), start), seconds(2));
}

TEST(RetryBudget, a_server_that_connects_and_crashes_at_once_runs_out_of_it) {
  RetryBudget budget;
  RetryBudget::Clock::time_point now{};
  unsigned starts = 0;
  while (budget.on_failure(now + seconds(1), now)) {
    ++starts;
    now += seconds(30);
  }
  EXPECT_EQ(starts, RetryBudget::kRetries);
}

TEST(RetryBudget, reset_fills_it_up) {
  RetryBudget budget;
  for (int i = 0; i < 4; ++i) (void)budget.on_failure({}, std::nullopt);
  budget.reset();
  EXPECT_EQ(budget.on_failure({}, std::nullopt), seconds(2));
}

}  // namespace
}  // namespace mcpbox::hosting
