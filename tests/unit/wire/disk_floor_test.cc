#include "box/init/disk_floor.h"

#include <gtest/gtest.h>

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kFloorMegabyte = 1 << 20;

struct DiskFloorTest : testing::Test {
  std::optional<DiskFloor::Verdict> look(std::uint64_t free_mib, std::vector<DiskFloor::Server> servers) {
    return floor.look(free_mib * kFloorMegabyte, 100 * kFloorMegabyte, servers, now);
  }
  DiskFloor::Server grew(std::uint32_t uid, std::uint64_t mib) const { return {uid, mib * kFloorMegabyte, now}; }

  DiskFloor floor;
  DiskFloor::TimePoint now{1h};
};

TEST_F(DiskFloorTest, whoever_grew_most_is_it) {
  EXPECT_FALSE(look(500, {grew(1, 0), grew(2, 0)}));
  now += 1s;
  const auto verdict = look(90, {grew(1, 400), grew(2, 10)});
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1u);
  EXPECT_EQ(verdict->grown, 400 * kFloorMegabyte);
  EXPECT_EQ(verdict->unexplained, 0u);
}

TEST_F(DiskFloorTest, nobody_is_it_when_more_went_elsewhere) {
  look(500, {grew(1, 0)});
  now += 1s;
  const auto verdict = look(50, {grew(1, 20), grew(2, 0)});
  ASSERT_TRUE(verdict);
  EXPECT_FALSE(verdict->culprit);
  EXPECT_EQ(verdict->unexplained, 430 * kFloorMegabyte);
}

TEST_F(DiskFloorTest, nobody_is_it_for_a_little_or_while_enough_is_free) {
  look(500, {grew(1, 0)});
  EXPECT_FALSE(look(100, {grew(1, 400)}));
  EXPECT_FALSE(look(99, {grew(1, 15)}));
}

TEST_F(DiskFloorTest, what_was_lost_long_ago_is_not_asked_for) {
  look(500, {});
  look(120, {});
  now += 1h;
  look(120, {});
  now += DiskFloor::kLately;
  const auto verdict = look(90, {grew(1, 30)});
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1u);
}

TEST_F(DiskFloorTest, what_was_written_after_the_walk_is_not_held_against_it) {
  look(500, {});
  now += 1s;
  EXPECT_FALSE(look(99, {{1, 0, std::nullopt}}));
  now += 100ms;
  const DiskFloor::Server walked = grew(1, 410);
  look(90, {{1, 0, std::nullopt}});
  now += 100ms;
  const auto verdict = look(1, {walked, grew(2, 0)});
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1u);
  EXPECT_EQ(verdict->unexplained, 0u);
}

TEST_F(DiskFloorTest, a_walk_that_does_not_end_is_waited_for_a_little) {
  look(500, {});
  now += 1s;
  EXPECT_FALSE(look(90, {grew(1, 400), {2, 0, std::nullopt}}));
  now += DiskFloor::kPatience - 1ms;
  EXPECT_FALSE(look(90, {grew(1, 400), {2, 0, std::nullopt}}));
  now += 1ms;
  const auto verdict = look(90, {grew(1, 400), {2, 0, std::nullopt}});
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1u);
}

TEST_F(DiskFloorTest, the_next_one_is_looked_for_later_and_anew) {
  look(500, {});
  now += 1s;
  const DiskFloor::Server first = grew(1, 300), second = grew(2, 110);
  ASSERT_TRUE(look(90, {first, second}));
  now += DiskFloor::kAgain - 1ms;
  EXPECT_FALSE(look(90, {second}));
  now += 1ms;
  EXPECT_FALSE(look(90, {second}));
  EXPECT_TRUE(look(90, {grew(2, 410)}));
}

}  // namespace
}  // namespace mcpbox::box::init
