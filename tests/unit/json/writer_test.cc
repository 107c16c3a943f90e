#include "json/writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "json/raw.h"
#include "json/value.h"

namespace mcpbox::json {
namespace {

TEST(JsonWriterTest, Members_stand_in_the_order_of_the_calls) {
  Writer out;
  out.object().member("op", "register").member("uid", 1900).member("ok", true).member("none", nullptr).end();
  EXPECT_EQ(out.take(), R"({"op":"register","uid":1900,"ok":true,"none":null})");
}

TEST(JsonWriterTest, Objects_and_arrays_nest_with_commas_where_they_belong) {
  Writer out;
  out.object();
  out.object("empty").end().array("also").end();
  out.array("list").value(1).object().member("a", "b").end().array().end().value("x").end();
  out.member("last", false).end();
  EXPECT_EQ(out.take(), R"({"empty":{},"also":[],"list":[1,{"a":"b"},[],"x"],"last":false})");
}

TEST(JsonWriterTest, Documents_of_one_value) {
  EXPECT_EQ(Writer().value("a").take(), "\"a\"");
  EXPECT_EQ(Writer().value(7).take_line(), "7\n");
  EXPECT_EQ(Writer().array().end().take(), "[]");
  EXPECT_EQ(Writer().value(Raw{"{\"a\": 1}"}).take(), "{\"a\": 1}");
}

TEST(JsonWriterTest, Every_kind_of_string_is_a_string_and_no_bool) {
  const char* pointer = "p";
  const std::string text = "t";
  const std::string_view view = "v";
  Writer out;
  out.array().value(pointer).value(text).value(view).value("l").end();
  EXPECT_EQ(out.take(), R"(["p","t","v","l"])");
}

TEST(JsonWriterTest, Ranges_become_arrays_and_optionals_null) {
  Writer out;
  out.object().member("texts", std::vector<std::string>{"a", "b"}).member("none", std::vector<std::string>{});
  out.member("flags", std::vector<bool>{true, false}).member("nested", std::vector<std::vector<int>>{{1}, {}});
  out.member("is", std::optional<int>(3)).member("is_not", std::optional<std::string>()).end();
  EXPECT_EQ(out.take(), R"({"texts":["a","b"],"none":[],"flags":[true,false],"nested":[[1],[]],"is":3,"is_not":null})");
}

TEST(JsonWriterTest, Integers_at_their_limits_are_exact) {
  Writer out;
  out.array().value(std::numeric_limits<std::int64_t>::min()).value(std::numeric_limits<std::uint64_t>::max());
  out.value(static_cast<std::uint8_t>(200)).value(static_cast<std::int16_t>(-1)).end();
  EXPECT_EQ(out.take(), "[-9223372036854775808,18446744073709551615,200,-1]");
}

TEST(JsonWriterTest, Hostile_keys_and_strings_are_escaped_and_come_back) {
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  for (const std::string& text : {every, std::string("\",\"uid\":0,\"x\":\""), std::string("\\"),
                                  std::string("\0\n", 2), std::string("\xED\xA0\x80"), std::string()}) {
    Writer out;
    out.object().member(text + "k", text).end();
    const std::string json = out.take();
    EXPECT_TRUE(valid_object(json)) << json;
    EXPECT_EQ(json.find('\n'), std::string::npos);
    const auto read = Value::parse(json);
    ASSERT_TRUE(read.has_value()) << json;
    EXPECT_EQ(read->size(), 1u);
  }
}

TEST(JsonWriterTest, Raw_text_is_copied_and_an_empty_one_is_null) {
  Writer out;
  out.object().member("arguments", Raw{"{\"n\": 1e400}"}).member("nothing", Raw{""}).end();
  EXPECT_EQ(out.take(), R"({"arguments":{"n": 1e400},"nothing":null})");
}

TEST(JsonWriterTest, A_taken_writer_begins_anew) {
  Writer out;
  out.array().value(1).end();
  EXPECT_EQ(out.size(), 3u);
  EXPECT_EQ(out.take(), "[1]");
  EXPECT_EQ(out.value(2).take(), "2");
}

TEST(JsonWriterTest, Sixty_four_levels_are_the_most) {
  Writer out;
  for (int i = 0; i < 64; ++i) out.array();
  for (int i = 0; i < 64; ++i) out.end();
  EXPECT_TRUE(valid(out.take()));
  EXPECT_DEATH(
      {
        Writer deep;
        for (int i = 0; i < 65; ++i) deep.array();
      },
      "too deep");
}

TEST(JsonWriterTest, Calls_that_make_no_json_end_the_program) {
  EXPECT_DEATH(Writer().end(), "nothing is open");
  EXPECT_DEATH(Writer().take(), "not whole");
  EXPECT_DEATH(Writer().object().take(), "not whole");
  EXPECT_DEATH(Writer().value(1).value(2), "second document");
  EXPECT_DEATH(Writer().object().value(1), "without a key");
  EXPECT_DEATH(Writer().array().member("a", 1), "outside of an object");
  EXPECT_DEATH(Writer().member("a", 1), "outside of an object");
  EXPECT_DEATH(Writer().object().array(), "without a key");
}

}  // namespace
}  // namespace mcpbox::json
