#include "base/text.h"

#include <gtest/gtest.h>

#include <array>

namespace mcpbox {
namespace {

TEST(Printable, leaves_ordinary_text_alone) {
  EXPECT_EQ(printable("héllo\t世界"), "héllo\t世界");
}

TEST(Printable, escapes_what_acts_on_a_terminal) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("\x1b]52;c;Zm9v\a"), "\\x1b]52;c;Zm9v\\x07");
  EXPECT_EQ(printable("over\rwrite"), "over\\rwrite");
  EXPECT_EQ(printable("c1 \xc2\x9b"), "c1 \\x9b");
}

TEST(Printable, escapes_bidirectional_and_zero_width_characters) {
  EXPECT_EQ(printable("a\u202eb"), "a\\u202eb");
  EXPECT_EQ(printable("a\u200bb\ufeff"), "a\\u200bb\\ufeff");
}

TEST(Printable, shows_invalid_utf8_as_bytes) {
  EXPECT_EQ(printable("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");
  EXPECT_EQ(printable("cut \xe4\xb8"), "cut \\xe4\\xb8");
  EXPECT_EQ(printable("surrogate \xed\xa0\x80"), "surrogate \\xed\\xa0\\x80");
}

TEST(Printable, cuts_at_the_limit_and_says_so) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abc…");
  EXPECT_LE(printable(std::string(10'000, 'x'), 100).size(), 100u);
}

TEST(Utf8, refuses_overlong_forms_surrogates_and_what_lies_above_the_last_code_point) {
  EXPECT_TRUE(is_valid_utf8("\xf4\x8f\xbf\xbf"));
  EXPECT_FALSE(is_valid_utf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(is_valid_utf8("\xc0\x80"));
  EXPECT_FALSE(is_valid_utf8("\xe0\x80\x80"));
  EXPECT_FALSE(is_valid_utf8("\xed\xbf\xbf"));
}

TEST(Nearest, finds_a_typo_and_stays_silent_about_strangers) {
  constexpr std::array<std::string_view, 3> kKeys{"command", "args", "env"};
  EXPECT_EQ(nearest("comand", kKeys), "command");
  EXPECT_EQ(nearest("arg", kKeys), "args");
  EXPECT_EQ(nearest("zzz", kKeys), "");
  for (const char* swapped : {"nev", "evn", "comamnd"}) EXPECT_NE(nearest(swapped, kKeys), "") << swapped;
  EXPECT_EQ(nearest("vne", kKeys), "");
}

TEST(Nearest, is_asked_for_as_a_question) {
  const std::vector<std::string> names{"files", "notes"};
  EXPECT_EQ(did_you_mean("filez", names), " (did you mean 'files'?)");
  EXPECT_EQ(did_you_mean("browser", names), "");
  EXPECT_EQ(did_you_mean("files", {}), "");
}

TEST(Split, keeps_empty_parts) {
  const auto parts = split("a::b", ':');
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[1], "");
}

TEST(HumanUnits, read_like_a_person_would_write_them) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(1612), "1,612");
  EXPECT_EQ(grouped(123456789), "123,456,789");
  EXPECT_EQ(human_bytes(12), "12 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_milliseconds(850), "850 ms");
  EXPECT_EQ(human_milliseconds(3200), "3.2 s");
  EXPECT_EQ(human_milliseconds(125'000), "2 min 5 s");
}

TEST(DisplayCommand, quotes_what_a_shell_would_split) {
  const std::array<std::string, 3> argv{"npx", "a b", "it's"};
  EXPECT_EQ(display_command(argv), "npx 'a b' 'it'\\''s'");
}

}  // namespace
}  // namespace mcpbox
