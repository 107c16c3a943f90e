#include "json/scanner.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace mcpbox::json {
namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

constexpr std::uint64_t kOnes = 0x0101010101010101ull;
constexpr std::uint64_t kHighs = 0x8080808080808080ull;

// Marks in the high bits the bytes that end a run of plain string text: a quote, a backslash, a control character.
// Borrows can mark a byte above a marked one falsely, so only the lowest mark counts.
std::uint64_t marks(std::uint64_t word) {
  const std::uint64_t quote = word ^ (kOnes * '"');
  const std::uint64_t slash = word ^ (kOnes * '\\');
  return (((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((word - kOnes * 0x20) & ~word)) & kHighs;
}

}  // namespace

void Scanner::skip_space() {
  while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
}

bool Scanner::skip_string(std::string_view& inside, bool& escaped) {
  if (!eat('"')) return fail("expected a string");
  const char* const start = at_;
  escaped = false;
  for (;;) {
    if constexpr (std::endian::native == std::endian::little) {
      while (end_ - at_ >= 8) {
        std::uint64_t word;
        std::memcpy(&word, at_, 8);
        const std::uint64_t found = marks(word);
        if (found != 0) {
          at_ += std::countr_zero(found) / 8;
          break;
        }
        at_ += 8;
      }
    }
    if (at_ == end_) return fail("a string without end");
    const char c = *at_;
    if (c == '"') {
      inside = std::string_view(start, static_cast<std::size_t>(at_ - start));
      ++at_;
      return true;
    }
    if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
    ++at_;
    if (c != '\\') continue;
    escaped = true;
    if (at_ == end_) return fail("a string without end");
    const char kind = *at_++;
    if (kind == 'u') {
      if (end_ - at_ < 4 || !is_hex(at_[0]) || !is_hex(at_[1]) || !is_hex(at_[2]) || !is_hex(at_[3])) {
        return fail("a bad \\u escape");
      }
      at_ += 4;
    } else if (std::string_view("\"\\/bfnrt").find(kind) == std::string_view::npos) {
      return fail("a bad escape in a string");
    }
  }
}

bool Scanner::skip_number() {
  eat('-');
  if (eat('0')) {
    if (is_digit(current())) return fail("a number with a leading zero");
  } else {
    if (!is_digit(current())) return fail("a bad number");
    while (is_digit(current())) ++at_;
  }
  if (eat('.')) {
    if (!is_digit(current())) return fail("a bad number");
    while (is_digit(current())) ++at_;
  }
  if (eat('e') || eat('E')) {
    if (!eat('+')) eat('-');
    if (!is_digit(current())) return fail("a bad number");
    while (is_digit(current())) ++at_;
  }
  return true;
}

bool Scanner::skip_literal(std::string_view literal) {
  if (static_cast<std::size_t>(end_ - at_) < literal.size() || std::memcmp(at_, literal.data(), literal.size()) != 0) {
    return fail("a bad literal");
  }
  at_ += literal.size();
  return true;
}

bool Scanner::skip_key() {
  std::string_view inside;
  bool escaped = false;
  skip_space();
  if (!skip_string(inside, escaped)) return false;
  skip_space();
  return eat(':') || fail("expected ':'");
}

bool Scanner::skip_value(unsigned max_depth) {
  std::uint64_t is_object = 0;  // bit d: the container at depth d is an object
  unsigned depth = 0;
  for (;;) {
    skip_space();
    const char c = current();
    if (c == '{' || c == '[') {
      if (depth >= max_depth || depth >= kMaxDepth) return fail("nested too deeply");
      const std::uint64_t bit = std::uint64_t{1} << depth;
      is_object = c == '{' ? is_object | bit : is_object & ~bit;
      ++depth;
      ++at_;
      skip_space();
      if (!eat(c == '{' ? '}' : ']')) {
        if (c == '{' && !skip_key()) return false;
        continue;
      }
      --depth;
    } else if (c == '"') {
      std::string_view inside;
      bool escaped = false;
      if (!skip_string(inside, escaped)) return false;
    } else if (c == '-' || is_digit(c)) {
      if (!skip_number()) return false;
    } else if (c == 't') {
      if (!skip_literal("true")) return false;
    } else if (c == 'f') {
      if (!skip_literal("false")) return false;
    } else if (c == 'n') {
      if (!skip_literal("null")) return false;
    } else {
      return fail(at_end() ? "ends in the middle" : "expected a value");
    }
    // A value is complete: close what ends here, then go on with the next element or member.
    for (;;) {
      if (depth == 0) return true;
      skip_space();
      const bool object = (is_object >> (depth - 1) & 1) != 0;
      if (eat(',')) {
        if (object && !skip_key()) return false;
        break;
      }
      if (!eat(object ? '}' : ']')) return fail(at_end() ? "ends in the middle" : "expected ',' or a closing bracket");
      --depth;
    }
  }
}

}  // namespace mcpbox::json
