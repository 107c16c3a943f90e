// What HTTP's texts have in common, wherever they are read: tokens, and comparisons without case. Header-only.
#pragma once

#include <algorithm>
#include <string_view>

namespace mcpbox {

// RFC 9110 §5.6.2; whatever the locale is.
constexpr bool is_http_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
  });
}

// Whether `text` is `lower`, which has no capitals, in whatever case of its ASCII letters.
constexpr bool equals_without_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(
      text, lower, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b; });
}

}  // namespace mcpbox
