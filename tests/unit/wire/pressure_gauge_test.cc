#include "box/init/pressure_gauge.h"

#include <gtest/gtest.h>

#include "box/init/proc_activity.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

struct Pressing : testing::Test {
  // Looks of 100 ms, in each of which it used that much.
  bool look(int looks, std::chrono::milliseconds used) {
    for (int n = 0; n < looks; ++n) gauge.look(used, now += 100ms);
    return gauge.presses();
  }

  PressureGauge gauge;
  PressureGauge::TimePoint now{};
};

TEST_F(Pressing, half_a_processor_is_everybodys) {
  EXPECT_FALSE(look(1000, 50ms));
}

TEST_F(Pressing, a_burst_is_none_and_what_goes_on_is) {
  EXPECT_FALSE(look(35, 100ms));
  EXPECT_FALSE(look(40, 0ms));
  EXPECT_FALSE(look(35, 100ms));
  EXPECT_TRUE(look(10, 100ms));
  EXPECT_NEAR(gauge.processors(), 1000, 20);
}

TEST_F(Pressing, more_processors_are_seen_sooner) {
  EXPECT_FALSE(look(10, 200ms));
  EXPECT_TRUE(look(5, 200ms));
  EXPECT_NEAR(gauge.processors(), 2000, 150);
}

TEST_F(Pressing, it_ends_when_the_server_is_quiet_however_long_it_went_on) {
  ASSERT_TRUE(look(10'000, 100ms));
  EXPECT_FALSE(look(80, 0ms));
  EXPECT_FALSE(look(35, 100ms));
}

TEST(Activity, is_read_behind_the_name_whatever_that_is) {
  Activity activity;
  ASSERT_TRUE(parse_activity("7 (a) R (b c)) S 1 7 7 0 -1 4194304 1 2 3 4 150 25 9 9 25 5 1 0", activity));
  EXPECT_EQ(activity.used, 1750ms);
  EXPECT_FALSE(activity.runs);
  ASSERT_TRUE(parse_activity("7 (a S) R 1 7 7 0 -1 4194304 1 2 3 4 0 1 9 9 25 5 1 0", activity));
  EXPECT_EQ(activity.used, 10ms);
  EXPECT_TRUE(activity.runs);
  for (const char* text :
       {"", "7 (a", "7 (a)", "7 (a) R 1 7 7 0 -1 4194304 1 2 3 4", "7 (a) R 1 2 3 4 5 6 7 8 9 10 x y"})
    EXPECT_FALSE(parse_activity(text, activity)) << text;
}

TEST(IgnoresSigterm, is_one_bit_of_what_is_ignored) {
  EXPECT_TRUE(parse_ignores_sigterm("Name:\ta\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000005000\nSigCgt:\t0\n"));
  EXPECT_FALSE(
      parse_ignores_sigterm("Name:\ta\nSigBlk:\t0000000000004000\nSigIgn:\t0000000000001000\nSigCgt:\t4000\n"));
  EXPECT_FALSE(parse_ignores_sigterm("Name:\tSigIgn:\\t4000\n"));
  EXPECT_FALSE(parse_ignores_sigterm(""));
}

}  // namespace
}  // namespace mcpbox::box::init
