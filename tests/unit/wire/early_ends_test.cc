#include "box/init/early_ends.h"

#include <gtest/gtest.h>

namespace mcpbox::box::init {
namespace {

TEST(EarlyEnds, of_a_server_is_still_known_when_three_hundred_others_have_ended) {
  EarlyEnds ends;
  ends.keep({7, 3 << 8, {}});
  for (pid_t other = 1000; other < 1300; ++other) ends.keep({other, 0, {}});
  EXPECT_EQ(ends.of(7).status, 3 << 8);
  EXPECT_EQ(ends.of(1000).status, 0);
}

TEST(EarlyEnds, are_kept_within_a_bound) {
  EarlyEnds ends;
  ends.keep({7, 3 << 8, {}});
  for (std::size_t i = 0; i < EarlyEnds::kMost; ++i) ends.keep({1000, 0, {}});
  EXPECT_EQ(ends.of(7).status, SIGKILL) << "nothing is known of it any more";
}

TEST(EarlyEnds, are_those_of_who_had_the_number_last) {
  EarlyEnds ends;
  ends.keep({7, 1 << 8, {}});
  ends.keep({7, 2 << 8, {}});
  EXPECT_EQ(ends.of(7).status, 2 << 8);
  ends.clear();
  EXPECT_EQ(ends.of(7).status, SIGKILL);
}

}  // namespace
}  // namespace mcpbox::box::init
