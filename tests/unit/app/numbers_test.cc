#include "app/numbers.h"

#include <gtest/gtest.h>

namespace mcpbox::app {
namespace {

constexpr WholeRange kMemory{16, 16'777'216, "MiB", Unit::kMebibytes};
constexpr WholeRange kTime{1, 86'400, "seconds", Unit::kSeconds};
constexpr WholeRange kProcesses{8, 4'194'304, "processes", Unit::kNone};

TEST(Numbers, a_size_has_a_unit_or_counts_mebibytes) {
  for (const auto& [text, mebibytes] : {std::pair("512", "512"),
                                        {"512m", "512"},
                                        {"512M", "512"},
                                        {"512MiB", "512"},
                                        {"2g", "2048"},
                                        {"2GB", "2048"},
                                        {"1t", "1048576"}}) {
    const auto read = read_whole(text, kMemory);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(*read, mebibytes);
  }
}

TEST(Numbers, a_time_has_a_unit_or_counts_seconds) {
  for (const auto& [text, seconds] : {std::pair("90", "90"), {"90s", "90"}, {"5m", "300"}, {"2h", "7200"}})
    EXPECT_EQ(read_whole(text, kTime).value_or(""), seconds) << text;
}

TEST(Numbers, what_is_none_is_answered_with_what_is_wanted) {
  for (const char* text : {"", "abc", "15", "512k", "-512", "+512", "5.5g", "512 m", "m", "99999999999999999999", "32t",
                           "512mm", "0x200", "16777217"}) {
    const auto read = read_whole(text, kMemory);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().message(), std::string("expected a whole number of MiB from 16 to 16777216, or with a unit, "
                                                  "as in 512m or 2g, not '") +
                                          text + "'");
  }
  const auto plain = read_whole("64m", kProcesses);
  ASSERT_FALSE(plain);
  EXPECT_EQ(plain.error().message(), "expected a whole number of processes from 8 to 4194304, not '64m'");
}

TEST(Numbers, a_decimal_is_in_its_range) {
  for (const char* text : {"0.01", "2", "1024"}) EXPECT_EQ(read_decimal(text, 0.01, 1024, "processors").value(), text);
  for (const char* text : {"0", "nan", "inf", "1025", "two", "2c", "", "-1"}) {
    const auto read = read_decimal(text, 0.01, 1024, "processors");
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().message(),
              std::string("expected a number of processors from 0.01 to 1024, not '") + text + "'");
  }
}

}  // namespace
}  // namespace mcpbox::app
