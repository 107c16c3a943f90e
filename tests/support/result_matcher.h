// Assertions on a Result that print its error: EXPECT_THAT(result, succeeds()), EXPECT_THAT(result, fails(code,
// "text")).
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <type_traits>

#include "base/result.h"

namespace mcpbox {

// Found by gtest in place of a dump of bytes.
template <class T>
void PrintTo(const std::expected<T, Error>& result, std::ostream* out) {
  if (!result) {
    *out << "error " << code_name(result.error().code()) << ": " << result.error().message();
  } else if constexpr (std::is_void_v<T>) {
    *out << "success";
  } else {
    *out << "success: " << testing::PrintToString(*result);
  }
}

}  // namespace mcpbox

namespace mcpbox::test {

MATCHER(succeeds, negation ? "fails" : "succeeds") {
  return arg.has_value();
}

MATCHER_P(fails, code, "fails with " + std::string(code_name(code))) {
  return !arg.has_value() && arg.error().code() == code;
}

// The message holds `text` as well.
MATCHER_P2(fails, code, text, "fails with " + std::string(code_name(code)) + ", saying '" + std::string(text) + "'") {
  return !arg.has_value() && arg.error().code() == code && arg.error().message().find(text) != std::string::npos;
}

}  // namespace mcpbox::test
