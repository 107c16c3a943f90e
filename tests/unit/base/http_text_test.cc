#include "base/http_text.h"

#include <gtest/gtest.h>

namespace mcpbox {
namespace {

TEST(HttpText, a_token_is_what_rfc_9110_says_byte_for_byte) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool other = kOthers.contains(c);
    EXPECT_EQ(is_http_token(std::string("a") + c), letter || other) << byte;
  }
  EXPECT_FALSE(is_http_token(""));
}

TEST(HttpText, compares_without_case_and_nothing_else) {
  EXPECT_TRUE(equals_without_case("ChunKed", "chunked"));
  EXPECT_FALSE(equals_without_case("chunked ", "chunked"));
  EXPECT_FALSE(equals_without_case("[", "{")) << "only letters have two cases";
}

}  // namespace
}  // namespace mcpbox
