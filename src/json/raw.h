// Exact slices of JSON text: what a member or an element says byte for byte, so that numbers, key order and unknown
// members survive. Views point into the text that was given.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/scanner.h"

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

// The elements of an array one after the other, without a list of them: an array of 16 MiB has eight million.
//
//   json::ElementWalk walk(array);
//   while (const auto element = walk.next()) …
//   if (!walk.complete()) …  // it was no valid array; what came before its fault was handed out
class ElementWalk {
 public:
  // `array` outlives the walk.
  explicit ElementWalk(std::string_view array) : array_(array), scan_(array) {}
  std::optional<std::string_view> next();
  // After next() gave nullopt: the text was one valid array, to its end.
  bool complete() const { return state_ == State::kComplete; }

 private:
  enum class State { kStart, kInside, kComplete, kBroken };
  std::optional<std::string_view> broken();
  std::string_view array_;
  Scanner scan_;
  State state_ = State::kStart;
};

// The elements of an array in their order; nullopt when `array` is no valid array. For arrays of ours: hostile ones are
// walked.
std::optional<std::vector<std::string_view>> raw_elements(std::string_view array);

// The same value on one line: line ends between tokens become spaces (inside strings they cannot stand). `text` is
// valid.
std::string on_one_line(std::string_view text);

}  // namespace mcpbox::json
