#include "app/verbs/table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mcpbox::app {
namespace {

TEST(Table, pads_columns_to_their_widest_cell_and_trims_the_ends) {
  EXPECT_EQ(format_table({"A", "LONG"}, {{"xyz", "1"}, {"y", ""}}), "A    LONG\nxyz  1\ny\n");
}

TEST(Table, measures_letters_and_not_bytes) {
  EXPECT_EQ(format_table({"N", "X"}, {{"h\xc3\xa4h", "1"}, {"abc", "2"}}), "N    X\nh\xc3\xa4h  1\nabc  2\n");
}

TEST(Table, lets_nothing_act_on_the_terminal) {
  const std::string text = format_table({"N"}, {{"\x1b[2Jevil\nline\x07"}});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\x07'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(Table, cuts_a_cell_that_is_too_long) {
  EXPECT_LT(format_table({"N"}, {{std::string(100'000, 'x')}}).size(), 2000u);
}

TEST(Table, bears_rows_of_any_length) {
  EXPECT_EQ(format_table({"A"}, {{"1", "2", "3"}, {}}).substr(0, 2), "A\n");
  EXPECT_EQ(format_table({"A", "B"}, {}), "A  B\n");
}

TEST(Table, a_text_of_several_lines_goes_into_one) {
  EXPECT_EQ(in_one_line("no engine. Tried:\n  one: not there\n\n  two: closed\n"),
            "no engine. Tried: one: not there | two: closed");
  EXPECT_EQ(in_one_line("one"), "one");
  EXPECT_EQ(in_one_line("\n \n"), "");
}

}  // namespace
}  // namespace mcpbox::app
