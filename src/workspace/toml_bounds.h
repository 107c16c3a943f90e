// What a TOML text may cost before a parser sees it. toml++ bounds how deep values nest, but neither how many parts a
// key has (each makes a table in the one before, and destroying them recurses) nor how many values stand in a text.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace mcpbox::workspace {

struct TomlBounds {
  std::size_t max_bytes = 1u << 20;
  std::size_t max_tokens = 200'000;  // of "=", ",", ".", "[" and "{" outside of strings: every value has one of them
  unsigned max_key_parts = 16;
};

// How deep values nest: toml++ is compiled with it (TOML_MAX_NESTED_VALUES).
inline constexpr unsigned kTomlNesting = 32;

// kResourceExhausted, with the line where one is to blame; kDataLoss for what stands outside of strings and comments
// and is not ASCII (TOML 1.0, "Keys"). Other text that is no TOML passes, up to the place where a parser stops too.
Result<void> check_toml_bounds(std::string_view text, const TomlBounds& bounds);

}  // namespace mcpbox::workspace
