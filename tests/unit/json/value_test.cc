#include "json/value.h"

#include <gtest/gtest.h>

namespace mcpbox::json {
namespace {

Value ok(std::string_view text) {
  auto value = Value::parse(text);
  EXPECT_TRUE(value.has_value()) << (value ? "" : value.error().message());
  return value ? *value : Value();
}

TEST(Value, walks_paths_and_types) {
  const Value doc =
      ok(R"({"State":{"Running":true,"Pid":42},"Names":["a","b"],"x":null,"f":1.5,"big":18446744073709551615})");
  EXPECT_TRUE(doc["State"]["Running"].bool_or(false));
  EXPECT_EQ(doc["State"]["Pid"].integer(), 42);
  EXPECT_EQ(doc["Names"].at(1).string(), "b");
  EXPECT_EQ(doc["Names"].at(2).type(), Value::Type::kAbsent);
  EXPECT_EQ(doc["x"].type(), Value::Type::kNull);
  EXPECT_FALSE(doc["nope"]["deeper"].present());
  EXPECT_EQ(doc["f"].integer(), std::nullopt);
  EXPECT_EQ(doc["f"].number(), 1.5);
  EXPECT_EQ(doc["big"].integer(), std::nullopt);
  EXPECT_EQ(doc["big"].unsigned_integer(), UINT64_MAX);
  EXPECT_EQ(doc["State"]["Pid"].string(), std::nullopt);
  EXPECT_EQ(doc.members().size(), 5u);
  EXPECT_EQ(doc["Names"].dump(), R"(["a","b"])");
}

TEST(Value, outlives_the_document_it_came_from) {
  Value inner;
  {
    inner = ok(R"({"a":{"b":"text"}})")["a"];
  }
  EXPECT_EQ(inner["b"].string_or(), "text");
}

TEST(Value, refuses_with_a_reason_and_never_throws) {
  const struct {
    const char* text;
    Code code;
    const char* message;
  } cases[] = {
      {"", Code::kDataLoss, "bad JSON at byte 0: ends in the middle"},
      {"{} {}", Code::kDataLoss, "bad JSON at byte 3: text after the document"},
      {R"({"a":{"b":1,"b":2}})", Code::kDataLoss, "bad JSON: the key 'b' stands twice in one object"},
      {"\"\xff\"", Code::kDataLoss, "the JSON text is not valid UTF-8"},
      {"[1,]", Code::kDataLoss, "bad JSON at byte 3: expected a value"},
  };
  for (const auto& c : cases) {
    const auto value = Value::parse(c.text);
    ASSERT_FALSE(value) << c.text;
    EXPECT_EQ(value.error().code(), c.code);
    EXPECT_EQ(value.error().message(), c.message);
  }
  EXPECT_FALSE(Value::parse("1e999"));
  EXPECT_EQ(Value::parse(std::string(65, '[') + std::string(65, ']')).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(Value::parse("[1,2,3]", {.max_bytes = 6}).error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(Value::parse(R"("\ud800")"));
}

}  // namespace
}  // namespace mcpbox::json
