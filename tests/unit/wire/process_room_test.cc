#include "box/init/process_room.h"

#include <gtest/gtest.h>

namespace mcpbox::box::init {
namespace {

TEST(ProcessRoom, is_an_eighth_but_some_for_who_has_few_and_no_crowd_for_who_has_many) {
  EXPECT_EQ(with_room(1), 9u);
  EXPECT_EQ(with_room(64), 72u);
  EXPECT_EQ(with_room(65), 73u);
  EXPECT_EQ(with_room(100), 112u);
  EXPECT_EQ(with_room(384), 432u);
  EXPECT_EQ(with_room(1000), 1048u);
}

// A sandbox of one server has 96 for what is its own (box::kOwnProcesses), PID 1's children among them.
TEST(ProcessRoom, leaves_a_sandbox_half_of_what_it_has_for_itself) {
  for (const std::uint64_t limit : {1u, 64u, 512u, 100'000u}) EXPECT_LE(with_room(limit), limit + 48);
}

TEST(ProcessRoom, asks_the_kernel_for_no_more_than_it_takes) {
  EXPECT_EQ(with_room(4'194'302), 4'194'302u);
  EXPECT_EQ(with_room(4'194'300), 4'194'302u);
  EXPECT_EQ(with_room(10'000'000), 10'000'000u) << "which is for others to refuse";
}

}  // namespace
}  // namespace mcpbox::box::init
