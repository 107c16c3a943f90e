#include "json/writer.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "json/text.h"

namespace mcpbox::json {
namespace {

constexpr unsigned kWriterLevels = 64;

// A text that is no JSON would be read by a peer or stay in a record: to end here shows whose fault it is.
void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "mcpbox: json::Writer: %s\n", what);
  std::abort();
}

template <class Number>
void append_number(std::string& out, Number number) {
  char digits[24];
  const auto written = std::to_chars(std::begin(digits), std::end(digits), number);
  out.append(digits, written.ptr);
}

}  // namespace

void Writer::before_value() {
  require(depth_ == 0 || (objects_ >> (depth_ - 1) & 1) == 0, "a value without a key in an object");
  require(depth_ > 0 || text_.empty(), "a second document");
  if (!first_) text_ += ',';
  first_ = false;
}

void Writer::before_member(std::string_view key) {
  require(depth_ > 0 && (objects_ >> (depth_ - 1) & 1) == 1, "a member outside of an object");
  if (!first_) text_ += ',';
  first_ = false;
  put_string(key);
  text_ += ':';
}

void Writer::open(char bracket, bool is_object) {
  require(depth_ < kWriterLevels, "too deep");
  text_ += bracket;
  const std::uint64_t bit = std::uint64_t{1} << depth_;
  objects_ = is_object ? objects_ | bit : objects_ & ~bit;
  ++depth_;
  first_ = true;
}

Writer& Writer::object() {
  before_value();
  open('{', true);
  return *this;
}

Writer& Writer::object(std::string_view key) {
  before_member(key);
  open('{', true);
  return *this;
}

Writer& Writer::array() {
  before_value();
  open('[', false);
  return *this;
}

Writer& Writer::array(std::string_view key) {
  before_member(key);
  open('[', false);
  return *this;
}

Writer& Writer::end() {
  require(depth_ > 0, "nothing is open");
  --depth_;
  text_ += (objects_ >> depth_ & 1) == 1 ? '}' : ']';
  first_ = false;
  return *this;
}

std::string Writer::take() {
  require(depth_ == 0 && !text_.empty(), "the text is not whole");
  first_ = true;
  return std::exchange(text_, {});
}

void Writer::put_string(std::string_view text) {
  append_quoted(text_, text);
}

void Writer::put_signed(std::int64_t number) {
  append_number(text_, number);
}

void Writer::put_unsigned(std::uint64_t number) {
  append_number(text_, number);
}

}  // namespace mcpbox::json
