#include "box/init/pressure_gauge.h"

#include <gtest/gtest.h>

#include "box/init/proc_activity.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

struct Pressing : testing::Test {
  // Looks of 100 ms, in each of which it used that much.
  bool look(int looks, std::chrono::milliseconds used, unsigned level = PressureGauge::kHalf) {
    for (int n = 0; n < looks; ++n) gauge.look(used, now += 100ms, level);
    return gauge.presses();
  }
  // Looks until it yields no more.
  int rest() {
    int looks = 0;
    while (gauge.yields() && looks < 10'000) ++looks, look(1, 0ms);
    return looks;
  }

  PressureGauge gauge;
  PressureGauge::TimePoint now{};
};

TEST_F(Pressing, half_a_processor_is_everybodys) {
  EXPECT_FALSE(look(1000, 50ms));
  EXPECT_FALSE(gauge.yields());
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

TEST_F(Pressing, with_less_than_half_a_processor_it_is_seen_where_that_is_more_than_its_part) {
  EXPECT_FALSE(look(1000, 25ms));
  EXPECT_TRUE(look(200, 25ms, 125));
  EXPECT_NEAR(gauge.processors(), 250, 10);
}

TEST_F(Pressing, it_yields_long_before_it_is_named) {
  EXPECT_FALSE(look(3, 100ms));
  EXPECT_TRUE(gauge.yields());
}

TEST_F(Pressing, it_yields_until_it_was_quiet_for_a_while) {
  look(3, 100ms);
  ASSERT_TRUE(gauge.yields());
  look(19, 40ms);
  EXPECT_TRUE(gauge.yields());
  look(5, 100ms);
  look(19, 0ms);
  EXPECT_TRUE(gauge.yields()) << "it was at it again";
  EXPECT_LE(rest(), 10);
}

TEST_F(Pressing, who_comes_back_soon_yields_longer_and_who_comes_much_later_does_not) {
  look(3, 100ms);
  const int first = rest();
  look(20, 0ms);
  look(3, 100ms);
  ASSERT_TRUE(gauge.yields());
  const int second = rest();
  EXPECT_NEAR(second, 2 * first, 6);
  for (int n = 0; n < 20; ++n) look(3, 100ms), rest();
  look(3, 100ms);
  const int last = rest();
  EXPECT_NEAR(last, PressureGauge::kLongestRest / 100ms, 4);
  look(PressureGauge::kSoon / 100ms, 0ms);
  look(3, 100ms);
  ASSERT_TRUE(gauge.yields());
  EXPECT_NEAR(rest(), first, 2);
}

TEST_F(Pressing, started_again_it_yields_from_the_start_and_presses_nobody) {
  EXPECT_FALSE(gauge.started_again(now).yields());
  ASSERT_TRUE(look(100, 100ms));
  gauge = gauge.started_again(now);
  EXPECT_TRUE(gauge.yields());
  EXPECT_FALSE(gauge.presses());
  EXPECT_NEAR(rest(), 2 * (PressureGauge::kRest / 100ms), 2);
  EXPECT_TRUE(gauge.started_again(now).yields());
  EXPECT_FALSE(gauge.started_again(now + PressureGauge::kSoon).yields());
}

TEST(Activity, is_read_behind_the_name_whatever_that_is) {
  Activity activity;
  ASSERT_TRUE(parse_activity("7 (a) R (b c)) S 1 7 7 0 -1 4194304 1 2 3 4 150 25 9 8 25 5 1 0", activity));
  EXPECT_EQ(activity.used, 1750ms);
  EXPECT_EQ(activity.waited, 170ms);
  EXPECT_FALSE(activity.runs);
  ASSERT_TRUE(parse_activity("7 (a S) R 1 7 7 0 -1 4194304 1 2 3 4 0 1 9 9 25 5 1 0", activity));
  EXPECT_EQ(activity.used, 10ms);
  EXPECT_TRUE(activity.runs);
  for (const char* text : {"", "7 (a", "7 (a)", "7 (a) R 1 7 7 0 -1 4194304 1 2 3 4",
                           "7 (a) R 1 2 3 4 5 6 7 8 9 10 x y", "7 (a) R 1 2 3 4 5 6 7 8 9 10 11 12 13 z"})
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
