#include "app/verbs/env_verbs.h"

#include <gtest/gtest.h>

namespace mcpbox::app {
namespace {

TEST(Age, is_a_number_with_a_unit) {
  EXPECT_EQ(parse_age("90s"), 90);
  EXPECT_EQ(parse_age("0s"), 0);
  EXPECT_EQ(parse_age("7d"), 7 * 86400);
  EXPECT_EQ(parse_age("2w"), 14 * 86400);
  for (const char* bad : {"", "d", "7", "-1d", "1.5h", "1 d", "7dd", "99999999999999999999d"})
    EXPECT_FALSE(parse_age(bad)) << bad;
}

}  // namespace
}  // namespace mcpbox::app
