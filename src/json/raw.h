// Exact slices of JSON text: what a member or an element says byte for byte, so that numbers, key order and unknown
// members survive. Views point into the text that was given.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mcpbox::json {

// One whole, strictly valid JSON value with valid UTF-8, at most 64 levels deep, nothing but space around it?
bool valid(std::string_view text);
bool valid_object(std::string_view text);

// The value of the member `key` (compared with escapes resolved). nullopt when `object` is no valid object, the key is
// absent, or it stands there twice: which of two values counts is what parsers disagree on.
std::optional<std::string_view> raw_member(std::string_view object, std::string_view key);

struct RawMember {
  std::string key;         // escapes resolved
  std::string_view value;  // without space around it
};
// All members in their order, duplicates included; nullopt when `object` is no valid object.
std::optional<std::vector<RawMember>> raw_members(std::string_view object);

// The elements of an array in their order; nullopt when `array` is no valid array.
std::optional<std::vector<std::string_view>> raw_elements(std::string_view array);

// The same value on one line: line ends between tokens become spaces (inside strings they cannot stand). `text` is
// valid.
std::string on_one_line(std::string_view text);

}  // namespace mcpbox::json
