#include "mcp/line_framer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace mcpbox::mcp {
namespace {

// Everything that comes out, as text: lines as they are, lines that were too long as "<length head…tail>".
std::vector<std::string> drain(LineFramer& framer) {
  std::vector<std::string> out;
  for (;;) {
    const auto next = framer.next();
    if (next.item == LineFramer::Item::kNone) return out;
    if (next.item == LineFramer::Item::kLine) {
      out.emplace_back(next.line);
    } else {
      out.push_back("<" + std::to_string(next.length) + " " + std::string(next.line) + "|" + std::string(next.tail) +
                    ">");
    }
  }
}

std::vector<std::string> split_at(const std::string& text, const std::vector<std::size_t>& cuts, std::size_t max_line) {
  LineFramer framer(max_line);
  std::vector<std::string> out;
  std::size_t from = 0;
  for (const std::size_t cut : cuts) {
    framer.feed(std::string_view(text).substr(from, cut - from));
    from = cut;
    for (auto& line : drain(framer)) out.push_back(std::move(line));
  }
  framer.feed(std::string_view(text).substr(from));
  for (auto& line : drain(framer)) out.push_back(std::move(line));
  out.push_back("rest:" + std::string(framer.rest()));
  return out;
}

const std::string kText =
    "one\r\n\ntwo\n\r\n\xE2\x82\xAC uro\nexactly10!\nexactly10!\r\nexactly 11!\nexactly "
    "11!\r\n12345678901234567890\nre\r\rst\r";

TEST(LineFramer, splits_lines_and_drops_blank_ones) {
  const std::vector<std::string> expected = {"one",
                                             "two",
                                             "\xE2\x82\xAC uro",
                                             "exactly10!",
                                             "exactly10!",
                                             "<11 exactly 11!|exactly 11!>",
                                             "<11 exactly 11!|exactly 11!>",
                                             "<20 12345678901234567890|12345678901234567890>",
                                             "rest:re\r\rst\r"};
  EXPECT_EQ(split_at(kText, {}, 10), expected);
}

TEST(LineFramer, gives_the_same_lines_however_the_stream_is_cut) {
  const auto expected = split_at(kText, {}, 10);
  for (std::size_t cut = 0; cut <= kText.size(); ++cut) EXPECT_EQ(split_at(kText, {cut}, 10), expected) << cut;
  std::vector<std::size_t> every;
  for (std::size_t cut = 1; cut < kText.size(); ++cut) every.push_back(cut);
  EXPECT_EQ(split_at(kText, every, 10), expected);
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = random() % 9; at < kText.size(); at += random() % 9) cuts.push_back(at);
    ASSERT_EQ(split_at(kText, cuts, 10), expected);
  }
}

TEST(LineFramer, accepts_the_limit_and_refuses_one_more) {
  constexpr std::size_t kLimit = 100'000;
  for (const std::size_t length : {kLimit - 1, kLimit, kLimit + 1}) {
    for (const char* end : {"\n", "\r\n"}) {
      for (const std::size_t step : {std::size_t{1}, std::size_t{4096}, std::size_t{1} << 20}) {
        LineFramer framer(kLimit);
        const std::string text = std::string(length, 'x') + end + "next\n";
        std::vector<LineFramer::Item> items;
        std::size_t seen = 0;
        for (std::size_t at = 0; at < text.size(); at += step) {
          framer.feed(std::string_view(text).substr(at, step));
          for (auto next = framer.next(); next.item != LineFramer::Item::kNone; next = framer.next()) {
            items.push_back(next.item);
            if (items.size() == 1) seen = next.length;
          }
        }
        ASSERT_EQ(items.size(), 2u);
        EXPECT_EQ(items[0], length <= kLimit ? LineFramer::Item::kLine : LineFramer::Item::kTooLong);
        EXPECT_EQ(items[1], LineFramer::Item::kLine);
        EXPECT_EQ(seen, length);
      }
    }
  }
}

TEST(LineFramer, stays_bounded_while_a_line_never_ends) {
  LineFramer framer(1 << 20);
  const std::string chunk(64 << 10, 'x');
  for (int i = 0; i < 16'384; ++i) {  // 1 GiB
    framer.feed(chunk);
    ASSERT_EQ(framer.next().item, LineFramer::Item::kNone);
    ASSERT_LE(framer.buffered(), (1u << 20) + chunk.size());
  }
  framer.feed("\nafter\n");
  const auto next = framer.next();
  EXPECT_EQ(next.item, LineFramer::Item::kTooLong);
  EXPECT_EQ(next.length, 1u << 30);
  EXPECT_EQ(next.line.size(), kExcerpt);
  EXPECT_EQ(next.tail.size(), kExcerpt);
  EXPECT_EQ(framer.next().line, "after");
}

TEST(LineFramer, reads_a_line_of_16_mib_byte_by_byte_in_linear_time) {
  LineFramer framer;
  const std::string line(16 << 20, 'x');
  for (const char& c : line) {
    framer.feed(std::string_view(&c, 1));
    ASSERT_EQ(framer.next().item, LineFramer::Item::kNone);
  }
  framer.feed("\n");
  EXPECT_EQ(framer.next().line.size(), line.size());
}

TEST(LineFramer, keeps_its_place_over_many_lines_in_one_feed) {
  LineFramer framer;
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i) + "\n";
  framer.feed(text + "par");
  framer.feed("tial\n");
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(framer.next().line, std::to_string(i));
  EXPECT_EQ(framer.next().line, "partial");
  EXPECT_EQ(framer.next().item, LineFramer::Item::kNone);
}

}  // namespace
}  // namespace mcpbox::mcp
