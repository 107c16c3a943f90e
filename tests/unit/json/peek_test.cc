#include "json/peek.h"

#include <gtest/gtest.h>

#include <string>

namespace mcpbox::json {
namespace {

Message peek(std::string_view line) {
  return Peeker().peek(line);
}

TEST(Peek, tells_the_kinds_of_messages_apart) {
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","id":7,"method":"ping"})").kind, MessageKind::kRequest);
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","method":"notifications/initialized"})").kind, MessageKind::kNotification);
  EXPECT_EQ(peek(R"({"result":{},"jsonrpc":"2.0","id":7})").kind, MessageKind::kResponse);
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}})").kind, MessageKind::kError);
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","error":{"code":0,"message":"x"}})").kind, MessageKind::kError);
  EXPECT_EQ(peek(R"([{"jsonrpc":"2.0","id":7,"result":{}}])").kind, MessageKind::kBatch);
}

TEST(Peek, keeps_the_raw_text_of_the_id) {
  for (const char* id : {"7", "0", "-3", "3.0", "1e2", "9007199254740993", "123456789012345678901234567890", R"("a")",
                         R"("")", R"("\u00e9")"}) {
    const std::string line = std::string(R"({"jsonrpc":"2.0","id": )") + id + R"( ,"method":"x"})";
    const Message message = peek(line);
    EXPECT_EQ(message.kind, MessageKind::kRequest) << id;
    EXPECT_EQ(message.id, id);
    EXPECT_EQ(message.method, "x");
  }
}

TEST(Peek, refuses_what_is_no_json_rpc_message_and_says_why) {
  const struct {
    const char* line;
    const char* why;
  } cases[] = {
      {"", "no JSON object"},
      {"Server listening on stdio", "no JSON object"},
      {"123", "no JSON object"},
      {"\"x\"", "no JSON object"},
      {"{}", "no \"jsonrpc\": \"2.0\""},
      {"[]", "no JSON-RPC batch"},
      {"[1]", "no JSON-RPC batch"},
      {R"({"jsonrpc":"1.0","id":1,"method":"x"})", "no \"jsonrpc\": \"2.0\""},
      {R"({"jsonrpc":2.0,"id":1,"method":"x"})", "no \"jsonrpc\": \"2.0\""},
      {R"({"jsonrpc":"2.0","id":1})", "neither method, result nor error"},
      {R"({"jsonrpc":"2.0","Id":1,"Method":"x"})", "neither method, result nor error"},
      {R"({"jsonrpc":"2.0","id":null,"method":"x"})", "a request whose id is neither a string nor a number"},
      {R"({"jsonrpc":"2.0","id":{},"method":"x"})", "a request whose id is neither a string nor a number"},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", "the method is no string"},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","result":1})", "both a request and a response"},
      {R"({"jsonrpc":"2.0","id":1,"result":1,"error":{}})", "both a result and an error"},
      {R"({"jsonrpc":"2.0","result":1})", "a result without an id"},
      {R"({"jsonrpc":"2.0","id":1,"error":"x"})", "the error is no object"},
      {R"({"jsonrpc":"2.0","id":1,"id":2,"result":1})", "a member of the message stands there twice"},
      {R"({"jsonrpc":"2.0","id":1,"\u0069d":2,"result":1})", "a member of the message stands there twice"},
      {R"({"jsonrpc":"2.0","id":1,"result":1} x)", "text after the message"},
      {R"({"jsonrpc":"2.0","id":1,"result":1}{})", "text after the message"},
      {R"({"jsonrpc":"2.0","id":1,"result":{"a":1)", "ends in the middle"},
      {R"({"jsonrpc":"2.0","id":1,"result":{"a" "b"}})", "expected ':'"},
      {R"({"jsonrpc":"2.0","id":1,"result":[1 2]})", "expected ',' or a closing bracket"},
      {R"({"jsonrpc":"2.0","id":1,"result":nul})", "a bad literal"},
      {R"({"jsonrpc":"2.0","id":01,"result":{}})", "a number with a leading zero"},
      {R"({"jsonrpc":"2.0","id":1,"result":"\x"})", "a bad escape in a string"},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"a\tb\"}", "a control character in a string"},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}", "invalid UTF-8"},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xed\xa0\x80\"}", "invalid UTF-8"},
  };
  for (const auto& c : cases) {
    const Message message = peek(c.line);
    EXPECT_EQ(message.kind, MessageKind::kInvalid) << c.line;
    EXPECT_EQ(message.error, c.why) << c.line;
  }
}

TEST(Peek, gives_the_id_of_an_invalid_message_so_that_its_caller_can_be_told) {
  EXPECT_EQ(peek(R"({"id":4,"result":{}})").id, "4");
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","id":"q","result":1,"error":{}})").id, "\"q\"");
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","id":4,"id":5,"result":{}})").id, "");
}

TEST(Peek, takes_a_null_error_beside_a_result_as_absent) {
  EXPECT_EQ(peek(R"({"jsonrpc":"2.0","id":1,"result":{},"error":null})").kind, MessageKind::kResponse);
}

TEST(Peek, limits_depth_to_64) {
  const auto nested = [](int depth) {
    return R"({"jsonrpc":"2.0","id":1,"result":)" + std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']') + "}";
  };
  EXPECT_EQ(peek(nested(63)).kind, MessageKind::kResponse);
  EXPECT_EQ(peek(nested(64)).error, "nested too deeply");
  EXPECT_EQ(peek(nested(1'000'000)).error, "nested too deeply");
}

TEST(Peek, accepts_lone_surrogate_escapes_and_separators_inside_strings) {
  EXPECT_EQ(peek("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\\ud800 \xE2\x80\xA8 \xC2\x85\"}").kind,
            MessageKind::kResponse);
}

TEST(Peek, compares_a_method_with_its_escapes_resolved) {
  EXPECT_TRUE(is_method(peek(R"({"jsonrpc":"2.0","method":"notifications\/cancelled"})"), "notifications/cancelled"));
  EXPECT_FALSE(is_method(peek(R"({"jsonrpc":"2.0","method":"notifications\/x"})"), "notifications/cancelled"));
}

TEST(Peek, no_prefix_of_a_message_is_a_message) {
  const std::string line = R"({"jsonrpc":"2.0","id":"a\"\\b","result":{"x":[1.5e-3,true,null,"é"],"y":{}}})";
  ASSERT_EQ(peek(line).kind, MessageKind::kResponse);
  for (std::size_t cut = 0; cut < line.size(); ++cut) {
    EXPECT_EQ(peek(std::string_view(line).substr(0, cut)).kind, MessageKind::kInvalid) << cut;
  }
}

}  // namespace
}  // namespace mcpbox::json
