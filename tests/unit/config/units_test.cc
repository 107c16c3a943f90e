#include "config/units.h"

#include <gtest/gtest.h>

namespace mcpbox::config {
namespace {

TEST(Units, sizes_count_mebibytes) {
  EXPECT_EQ(mebibytes("512m"), 512u);
  EXPECT_EQ(mebibytes("2GiB"), 2048u);
  EXPECT_EQ(mebibytes("3Tb"), 3u << 20);
  for (const char* text : {"", "m", "512", "512k", "512mb b", "-1m", "1.5g", "512mibi", "99999999999g"})
    EXPECT_EQ(mebibytes(text), std::nullopt) << text;
}

TEST(Units, times_count_seconds) {
  EXPECT_EQ(seconds("90s"), 90u);
  EXPECT_EQ(seconds("5M"), 300u);
  EXPECT_EQ(seconds("2h"), 7200u);
  for (const char* text : {"", "s", "90", "90ms", "1d", "-1s"}) EXPECT_EQ(seconds(text), std::nullopt) << text;
}

}  // namespace
}  // namespace mcpbox::config
