// The ways in which programs write a secret down again. Internal to redact.cc.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox {

// Calls `each` with the spellings of a value that are found as they are: itself, base64 (both alphabets, wherever in
// the encoded text it begins, also in lines of 64 and 76 characters) and hexadecimal. Of base64 those characters that
// the value alone decides.
void each_spelling(std::string_view value, const std::function<void(std::string)>& each);

// A text without its escapes, and where each of its bytes came from.
struct Unescaped {
  std::string text;
  std::vector<std::size_t> from;  // text.size() + 1 offsets; the last one is the end of what was read
  std::vector<std::size_t> to;    // text.size() ends, where bytes of what was read lie between two of them; else empty
};

// `text` with the escapes of JSON and of programming languages read (\" \\ \/ \n \113 \xHH \uHHHH), which of them a
// writer ever chooses; with percent-encoding read. And these on top of each other, up to three. And with hexadecimal
// read that stands in groups: 61:62:63, 61 62, 0x61, 0x62, 6162 6364. Empty where it has none. What is no escape stays.
std::vector<Unescaped> unescaped(std::string_view text);

}  // namespace mcpbox
