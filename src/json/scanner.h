// A strict, allocation-free walk over JSON text: finds where a value ends and refuses everything RFC 8259 refuses.
//
// Why not simdjson's On-Demand walk here: it accepts bad literals and missing commas inside values that it skips,
// cannot bound their depth, and needs a padded copy. What this accepts, every strict parser accepts.
#pragma once

#include <cstddef>
#include <string_view>

namespace mcpbox::json {

inline constexpr unsigned kMaxDepth = 64;

// Not for UTF-8: that is checked apart (is_valid_utf8), because it is much faster over the whole text at once.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  void skip_space();
  // Steps over one value, with at most `max_depth` (≤ 64) containers inside each other. False leaves error() set.
  bool skip_value(unsigned max_depth = kMaxDepth);
  // Steps over a string; `inside` is the text between its quotes, `escaped` whether it holds a backslash.
  bool skip_string(std::string_view& inside, bool& escaped);
  bool eat(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  char current() const { return at_ == end_ ? '\0' : *at_; }
  bool at_end() const { return at_ == end_; }
  std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }
  std::string_view error() const { return error_; }
  bool fail(std::string_view why) {
    error_ = why;
    return false;
  }

 private:
  bool skip_key();
  bool skip_number();
  bool skip_literal(std::string_view literal);

  const char* begin_;
  const char* at_;
  const char* end_;
  std::string_view error_;
};

}  // namespace mcpbox::json
