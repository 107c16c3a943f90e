#include "workspace/toml_bounds.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mcpbox::workspace {
namespace {

// Behind the string that begins at `at`; npos where it does not end, and a parser stops there.
std::size_t behind_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const bool escapes = quote == '"';
  const bool lines = text.substr(at, 3) == std::string_view(escapes ? "\"\"\"" : "'''");
  std::size_t i = at + (lines ? 3 : 1);
  for (; i < text.size(); ++i) {
    if (escapes && text[i] == '\\') {
      ++i;
    } else if (text[i] == '\n' && !lines) {
      return std::string_view::npos;
    } else if (text[i] == quote) {
      if (!lines) return i + 1;
      if (text.substr(i, 3) != text.substr(at, 3)) continue;
      // Up to two quotes more are the string's last characters.
      i += 3;
      for (int extra = 0; extra < 2 && i < text.size() && text[i] == quote; ++extra) ++i;
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

Result<void> check_toml_bounds(std::string_view text, const TomlBounds& bounds) {
  if (text.size() > bounds.max_bytes)
    return fail(Code::kResourceExhausted, fmt::format("it is longer than {}", human_bytes(bounds.max_bytes)));
  std::size_t tokens = 0;
  unsigned parts = 1;
  const std::size_t begin = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  for (std::size_t i = begin; i < text.size();) {
    switch (text[i]) {
      case '#':
        i = std::min(text.find('\n', i), text.size());
        continue;
      case '"':
      case '\'':
        i = behind_string(text, i);
        if (i == std::string_view::npos) return {};
        continue;
      case '.':
        ++tokens;
        if (++parts > bounds.max_key_parts) {
          return fail(Code::kResourceExhausted,
                      fmt::format("line {}: a key has more than {} parts",
                                  1 + std::ranges::count(text.substr(0, i), '\n'), bounds.max_key_parts));
        }
        break;
      case '=':
      case ',':
      case '[':
      case '{':
        ++tokens;
        parts = 1;
        break;
      case '\n':
      case ']':
      case '}':
        parts = 1;
        break;
      default:
        // toml++ asks its tables of letters about others too, and they do not know all of them.
        if (static_cast<unsigned char>(text[i]) >= 0x80) {
          return fail(Code::kDataLoss,
                      fmt::format("line {}: only strings and comments may hold other letters than ASCII",
                                  1 + std::ranges::count(text.substr(0, i), '\n')));
        }
        break;
    }
    if (tokens > bounds.max_tokens)
      return fail(Code::kResourceExhausted, fmt::format("it has more than {} values", bounds.max_tokens));
    ++i;
  }
  return {};
}

}  // namespace mcpbox::workspace
