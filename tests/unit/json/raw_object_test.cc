#include "json/raw_object.h"

#include <gtest/gtest.h>

namespace mcpbox::json {
namespace {

TEST(RawObjectTest, is_an_object_on_one_line_whose_text_is_kept) {
  EXPECT_EQ(RawObject().text(), "{}");
  const auto parsed = RawObject::parse("{\"a\":\n 1.0,\r\n\"b\" : [\"\\u00e9\"]}");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text(), "{\"a\":  1.0,  \"b\" : [\"\\u00e9\"]}");
  for (const char* text : {"", "[]", "1", "{", "{\"a\":NaN}", "{} {}", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(RawObject::parse(text)) << text;
  }
}

TEST(RawObjectTest, a_member_that_was_read_already_is_only_looked_at) {
  const std::string text = "{\"o\":{\"a\":\n1},\"l\":[],\"s\":\"{}\",\"bad\":{\"a\":\"\xff\"}}";
  const auto members = raw_members(text);
  ASSERT_TRUE(members);
  EXPECT_EQ(RawObject::of((*members)[0])->text(), "{\"a\": 1}");
  for (int i = 1; i <= 3; ++i) EXPECT_FALSE(RawObject::of((*members)[static_cast<std::size_t>(i)])) << i;
}

TEST(RawObjectTest, a_writers_object_is_taken_as_it_is) {
  Writer out;
  out.object().member("name", "x").member("arguments", RawObject::parse("{\"a\":1}")->raw()).end();
  EXPECT_EQ(RawObject::of(out).text(), "{\"name\":\"x\",\"arguments\":{\"a\":1}}");
  Writer list;
  list.array().end();
  EXPECT_DEATH((void)RawObject::of(list), "");
}

}  // namespace
}  // namespace mcpbox::json
