#include <gtest/gtest.h>

#include "app/verbs/client_verbs.h"

namespace mcpbox::app {
namespace {

Result<std::string> from(std::vector<std::string> arguments, std::string json = "") {
  CallOptions call;
  call.arguments = std::move(arguments);
  call.json = std::move(json);
  return call_arguments(call);
}

TEST(CallArguments, are_an_empty_object_when_there_are_none) {
  EXPECT_EQ(from({}).value(), "{}");
}

TEST(CallArguments, take_text_as_text_and_json_as_json) {
  EXPECT_EQ(from({"a=1", "b:=1", "c=x=y", "d:=[1, {\"e\":null}]", "f="}).value(),
            R"({"a":"1","b":1,"c":"x=y","d":[1, {"e":null}],"f":""})");
}

TEST(CallArguments, escape_names_and_text) {
  EXPECT_EQ(from({"we\"ird=line\nbreak \\ \x01"}).value(), "{\"we\\\"ird\":\"line\\nbreak \\\\ \\u0001\"}");
}

TEST(CallArguments, keep_numbers_that_no_double_holds) {
  EXPECT_EQ(from({"n:=12345678901234567890123"}).value(), R"({"n":12345678901234567890123})");
}

TEST(CallArguments, name_what_cannot_be_read) {
  for (const char* bad : {"novalue", "=x", "a:=", "a:={", "a:=1 2", ":=1"}) {
    const auto refused = from({bad});
    ASSERT_FALSE(refused) << bad << " became " << *refused;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  }
}

TEST(CallArguments, a_whole_object_is_put_on_one_line_and_nothing_else_is_taken) {
  EXPECT_EQ(from({}, "{\"a\":\n 1}").value().find('\n'), std::string::npos);
  for (const char* bad : {"[]", "1", "{", "{\"a\":1}}", "nul"}) EXPECT_FALSE(from({}, bad)) << bad;
}

}  // namespace
}  // namespace mcpbox::app
