#include "json/raw.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/text.h"
#include "json/text.h"

namespace mcpbox::json {
namespace {

TEST(Raw, gives_the_exact_bytes_of_a_member) {
  const std::string text = R"({"a":1,"result": {"n":1.0,"big":123456789012345678901234567890,"n":1e+22} ,"z":[]})";
  EXPECT_EQ(raw_member(text, "result"), R"({"n":1.0,"big":123456789012345678901234567890,"n":1e+22})");
  EXPECT_EQ(raw_member(text, "z"), "[]");
  EXPECT_EQ(raw_member(text, "y"), std::nullopt);
}

TEST(Raw, does_not_choose_between_two_members_of_one_name) {
  EXPECT_EQ(raw_member(R"({"a":1,"\u0061":2})", "a"), std::nullopt);
}

TEST(Raw, finds_a_member_whose_key_is_written_with_an_escape) {
  EXPECT_EQ(raw_member(R"({"\u0061":2})", "a"), "2");
}

TEST(Raw, splits_arrays) {
  const auto elements = raw_elements(R"( [ {"a":[1,2]} , "x,]" ,3.10 ] )");
  ASSERT_TRUE(elements);
  EXPECT_EQ(*elements, (std::vector<std::string_view>{R"({"a":[1,2]})", R"("x,]")", "3.10"}));
  EXPECT_TRUE(raw_elements("[]")->empty());
  for (const char* bad : {"", "[", "[1", "[1,]", "[,1]", "[1]x", "{}", "1"}) EXPECT_FALSE(raw_elements(bad)) << bad;
}

TEST(Raw, puts_pretty_printed_json_on_one_line) {
  EXPECT_EQ(on_one_line("{\r\n\"a\\n\": 1\n}"), "{  \"a\\n\": 1 }");
}

TEST(Text, quotes_and_unescapes) {
  EXPECT_EQ(quote("a\"b\\c\n\x01\x7f é"), "\"a\\\"b\\\\c\\n\\u0001\x7f é\"");
  EXPECT_EQ(quote("\xff"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(string_of(R"("\u00e9\ud83d\ude00\/\t")"), "é😀/\t");
  EXPECT_EQ(string_of(R"("\ud83dx\ude00")"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
  EXPECT_EQ(string_of("7"), std::nullopt);
}

TEST(Text, replaces_maximal_invalid_parts) {
  EXPECT_EQ(repair_utf8("a\xff"
                        "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(repair_utf8("\xe2\x82"), "\xEF\xBF\xBD");
  EXPECT_EQ(repair_utf8("\xf0\x9f\x98\x80"), "😀");
  EXPECT_EQ(repair_utf8("\xc0\xaf"), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

// Random damage to a document: our scanner must agree with another strict parser, and utf-8 repair must always repair.
TEST(Raw, agrees_with_another_strict_parser_on_damaged_documents) {
  const std::string document =
      R"({"a":[1,-0.5,1e5,0],"b":{"c":"x\u00e9\"\\","d":null},"e":true,"f":false,"":"é😀","g":[[],{}, [ ]]})";
  std::mt19937 random(7);
  constexpr std::string_view kBytes = "{}[]\",:\\0123456789-+.eEtrufalsn \t\n\x01\x80\xc3\xff";
  int accepted = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text = document;
    const int edits = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < edits; ++i) {
      const std::size_t at = random() % text.size();
      const char byte = kBytes[random() % kBytes.size()];
      switch (random() % 3) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        default:
          text.erase(at, 1);
      }
    }
    const bool expected = nlohmann::json::accept(text);
    accepted += expected ? 1 : 0;
    const bool out_of_range = text.find("5e") != std::string::npos || text.find("1e") != std::string::npos;
    const bool surrogate = text.find("\\ud") != std::string::npos || text.find("\\uD") != std::string::npos;
    if (out_of_range || surrogate) continue;  // the other parser also refuses these, which the grammar allows
    ASSERT_EQ(valid(text), expected) << text;
    ASSERT_EQ(valid_utf8(text), is_valid_utf8(text));
    ASSERT_TRUE(is_valid_utf8(repair_utf8(text)));
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace mcpbox::json
