// JSON strings and the UTF-8 under them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mcpbox::json {

// `text` as a JSON string with its quotes. Control characters are escaped, invalid UTF-8 becomes U+FFFD, the rest
// stays.
std::string quote(std::string_view text);
void append_quoted(std::string& out, std::string_view text);

// The text that a string literal's inside stands for. Lone surrogate escapes become U+FFFD.
std::string unescape(std::string_view inside);

// The text of raw JSON `"…"`; nullopt when `raw` is no string.
std::optional<std::string> string_of(std::string_view raw);

// Fast (vectorised) check; the same answer as mcpbox::is_valid_utf8.
bool valid_utf8(std::string_view text);

// Every invalid byte sequence becomes U+FFFD, as browsers do it (maximal subparts).
std::string repair_utf8(std::string_view text);
// The same, unless the result would be longer than `limit`: a replacement has three bytes.
std::optional<std::string> repair_utf8(std::string_view text, std::size_t limit);

}  // namespace mcpbox::json
