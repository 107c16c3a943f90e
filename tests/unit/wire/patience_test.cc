#include "box/init/patience.h"

#include <gtest/gtest.h>

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;
using Step = Patience::Step;

struct Waiting : testing::Test {
  // Looks every 50 ms, in which it used that much, until something is to be done or the time is over.
  Step wait(std::chrono::milliseconds time, std::chrono::milliseconds each, bool runs = false) {
    for (const auto end = now + time; now < end;) {
      now += 50ms;
      used += each;
      if (const Step step = patience.look(used, runs, now); step != Step::kWait) return step;
    }
    return Step::kWait;
  }

  Patience patience;
  Patience::TimePoint now{};
  std::chrono::microseconds used{0};
};

TEST_F(Waiting, who_goes_on_as_before_gets_sigterm_and_then_sigkill) {
  EXPECT_EQ(wait(350ms, 50ms), Step::kTerminate);
  EXPECT_EQ(wait(300ms, 50ms), Step::kKill);
  EXPECT_LE(now, Patience::TimePoint(700ms));
}

TEST_F(Waiting, who_works_a_little_or_waits_has_all_the_time) {
  EXPECT_EQ(wait(10s, 0ms), Step::kWait);
  EXPECT_EQ(wait(10s, 20ms), Step::kWait);
}

TEST_F(Waiting, who_wants_a_processor_all_the_time_goes_on_though_it_hardly_gets_one) {
  EXPECT_EQ(wait(350ms, 0ms, true), Step::kTerminate);
  EXPECT_EQ(wait(300ms, 0ms, true), Step::kKill);
}

TEST_F(Waiting, who_waits_for_something_in_between_does_not) {
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(wait(200ms, 20ms, true), Step::kWait);
    EXPECT_EQ(wait(50ms, 0ms, false), Step::kWait);
  }
}

TEST_F(Waiting, what_it_used_before_it_was_told_does_not_count) {
  used = 1h;
  EXPECT_EQ(wait(1s, 0ms), Step::kWait);
}

TEST_F(Waiting, who_becomes_quiet_after_sigterm_is_left_alone_for_as_long_as_it_is) {
  EXPECT_EQ(wait(350ms, 100ms), Step::kTerminate);
  EXPECT_EQ(wait(3s, 10ms), Step::kWait);
  EXPECT_EQ(wait(300ms, 50ms), Step::kWait);
  EXPECT_EQ(wait(300ms, 50ms), Step::kKill);
}

}  // namespace
}  // namespace mcpbox::box::init
