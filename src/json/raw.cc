#include "json/raw.h"

#include "json/text.h"

namespace mcpbox::json {
namespace {

// Calls `visit(inside_of_key, escaped, value)` for each member; false when the text is no valid object.
template <class Visit>
bool walk_object(std::string_view text, Visit&& visit) {
  Scanner scan(text);
  scan.skip_space();
  if (!scan.eat('{')) return false;
  scan.skip_space();
  if (!scan.eat('}')) {
    for (;;) {
      std::string_view key;
      bool escaped = false;
      scan.skip_space();
      if (!scan.skip_string(key, escaped)) return false;
      scan.skip_space();
      if (!scan.eat(':')) return false;
      scan.skip_space();
      const std::size_t start = scan.offset();
      if (!scan.skip_value(kMaxDepth - 1)) return false;
      visit(key, escaped, text.substr(start, scan.offset() - start));
      scan.skip_space();
      if (scan.eat(',')) continue;
      if (scan.eat('}')) break;
      return false;
    }
  }
  scan.skip_space();
  return scan.at_end();
}

}  // namespace

bool valid(std::string_view text) {
  if (!valid_utf8(text)) return false;
  Scanner scan(text);
  if (!scan.skip_value()) return false;
  scan.skip_space();
  return scan.at_end();
}

bool valid_object(std::string_view text) {
  Scanner scan(text);
  scan.skip_space();
  return scan.current() == '{' && valid(text);
}

std::optional<std::string_view> raw_member(std::string_view object, std::string_view key) {
  std::optional<std::string_view> found;
  bool twice = false;
  const bool ok = walk_object(object, [&](std::string_view name, bool escaped, std::string_view value) {
    if (escaped ? unescape(name) != key : name != key) return;
    twice = twice || found.has_value();
    found = value;
  });
  if (!ok || twice) return std::nullopt;
  return found;
}

std::optional<std::vector<RawMember>> raw_members(std::string_view object) {
  std::vector<RawMember> members;
  const bool ok = walk_object(object, [&](std::string_view name, bool escaped, std::string_view value) {
    members.push_back({escaped ? unescape(name) : std::string(name), value});
  });
  if (!ok) return std::nullopt;
  return members;
}

std::optional<std::string_view> ElementWalk::broken() {
  state_ = State::kBroken;
  return std::nullopt;
}

std::optional<std::string_view> ElementWalk::next() {
  if (state_ == State::kComplete || state_ == State::kBroken) return std::nullopt;
  scan_.skip_space();
  bool ended = false;
  if (state_ == State::kStart) {
    if (!scan_.eat('[')) return broken();
    scan_.skip_space();
    ended = scan_.eat(']');
    state_ = State::kInside;
  } else {
    ended = scan_.eat(']');
    if (!ended && !scan_.eat(',')) return broken();
  }
  scan_.skip_space();
  if (ended) {
    if (!scan_.at_end()) return broken();
    state_ = State::kComplete;
    return std::nullopt;
  }
  const std::size_t start = scan_.offset();
  if (!scan_.skip_value(kMaxDepth - 1)) return broken();
  return array_.substr(start, scan_.offset() - start);
}

std::optional<std::vector<std::string_view>> raw_elements(std::string_view array) {
  std::vector<std::string_view> elements;
  ElementWalk walk(array);
  while (const auto element = walk.next()) elements.push_back(*element);
  if (!walk.complete()) return std::nullopt;
  return elements;
}

std::string on_one_line(std::string_view text) {
  std::string out(text);
  // Each is written, changed or not: only so does the compiler take many at once.
  for (char& c : out) c = c == '\n' || c == '\r' ? ' ' : c;
  return out;
}

}  // namespace mcpbox::json
