#include "mcp/jsonrpc.h"

#include <gtest/gtest.h>

namespace mcpbox::mcp {
namespace {

TEST(JsonRpc, writes_one_line_per_message) {
  EXPECT_EQ(request_text(1, "tools/call", R"({"name":"a"})"),
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\"}}");
  EXPECT_EQ(request_text(2, "ping", ""), "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}");
  EXPECT_EQ(notification_text("notifications/initialized", ""),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
  EXPECT_EQ(error_text("\"a\"", -32000, "x\ny"),
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32000,\"message\":\"x\\ny\"}}");
}

TEST(JsonRpc, compares_ids_by_what_they_mean) {
  EXPECT_EQ(canonical_id(R"("\u00e9")"), canonical_id(R"("é")"));
  EXPECT_NE(canonical_id("1"), canonical_id("\"1\""));
}

TEST(JsonRpc, finds_the_id_at_either_end_of_a_line_that_was_too_long) {
  const struct {
    const char *head, *tail, *id;
    bool method;
  } cases[] = {
      {R"({"jsonrpc":"2.0","id":12,"result":{"content":[{"ty)", "xxx", "12", false},
      {R"({"jsonrpc":"2.0","id":"a b","result":")", R"(xxx"})", "\"a b\"", false},
      {R"({"result":{"content":[{"ty)", R"(x"}]},"jsonrpc":"2.0","id":34})", "34", false},
      {R"({"result":{"content":[{"ty)", R"(x"}]}, "id" : "q-1" } )", "\"q-1\"", false},
      {R"({"jsonrpc":"2.0","method":"notifications/message","params":{)", R"(,"id":7})", "", true},
      {R"({"jsonrpc":"2.0","id":1)", "2345", "", false},     // the number may go on
      {R"({"result":"xxx)", R"(x\",\"id\":7})", "", false},  // inside a string
      {R"({"result":{"a":)", R"(,"id":7}})", "", false},     // of an inner object
      {R"({"result":{"a":)", R"(,"id":-})", "", false},
      {R"({"result":{"a":)", R"(,"id":"a\"b"})", "", false},
      {"Lorem ipsum", "dolor", "", false},
      {"", "", "", false},
  };
  for (const auto& c : cases) {
    const Excerpt found = read_excerpt(c.head, c.tail);
    EXPECT_EQ(found.id, c.id) << c.head << " … " << c.tail;
    EXPECT_EQ(found.has_method, c.method) << c.head;
  }
}

}  // namespace
}  // namespace mcpbox::mcp
