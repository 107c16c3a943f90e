#include "base/redact.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>

#include "base/http_text.h"
#include "base/own_words.h"
#include "base/redact_spelling.h"
#include "base/text.h"

namespace mcpbox {
namespace {

constexpr std::size_t kShortest = 6;  // shorter values occur in ordinary text
constexpr std::size_t kShortestLine = 8;
constexpr std::size_t kShortestWord = 3;    // shorter ones are hidden only where a value stands
constexpr std::size_t kTelling = 4;         // bytes of a secret that would help to guess it
constexpr std::size_t kLongestEscape = 13;  // bytes that may stand for one: \\\\U00000041. No other spelling is longer
constexpr std::size_t kPlaces = 64;         // of starts_, for each secret: of other text one in 64 is looked at
constexpr std::size_t kCompared = 8;        // bytes of secrets for each of a text
constexpr std::size_t kComparedAtLeast = 256 << 10;
constexpr std::size_t kStep = 256;            // bytes that are compared at a time
constexpr std::string_view kShortened = "…";  // what printable() ends a shortened text with

// Values that say nothing about anything.
constexpr std::string_view kOrdinary[] = {"true", "false", "null", "none", "yes", "no", "on", "off"};

// Lines of a secret that say nothing about it, and would hide ordinary text.
bool is_common(std::string_view line) {
  if (line.find_first_not_of(line.front()) == std::string_view::npos) return true;
  return line.ends_with("-----") && (line.starts_with("-----BEGIN ") || line.starts_with("-----END "));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

// Whether what stands beside a word at `at`, and behind that at `beyond`, makes it part of something longer.
bool goes_on(std::string_view text, std::size_t at, std::size_t beyond, char edge) {
  if (at >= text.size()) return false;
  if (is_word(edge) && is_word(text[at])) return true;
  // 1.25, 12:25, 1,250
  const bool in_number = text[at] == '.' || text[at] == ':' || text[at] == ',';
  return is_digit(edge) && in_number && beyond < text.size() && is_digit(text[beyond]);
}

// As in NAME=1, "1" and name: 1.
bool is_where_values_stand(std::string_view text, std::size_t at) {
  if (at > 0 && text[at - 1] == ' ') --at;
  return at > 0 && std::string_view("=:\"'").contains(text[at - 1]);
}

// Calls `each` with the parts of `text` between `separator`s.
template <class Each>
void split_at(std::string_view text, std::string_view separator, Each each) {
  for (;;) {
    const std::size_t end = text.find(separator);
    each(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + separator.size());
  }
}

void sort_once(std::vector<Secret>& secrets) {
  const auto less = [](const Secret& a, const Secret& b) { return a.reveal() < b.reveal(); };
  const auto same = [](const Secret& a, const Secret& b) { return a.reveal() == b.reveal(); };
  std::ranges::sort(secrets, less);
  secrets.erase(std::unique(secrets.begin(), secrets.end(), same), secrets.end());
}

std::string_view revealed(const Secret& secret) {
  return secret.reveal();
}

}  // namespace

void Redactor::take(std::string_view value) {
  longest_ = std::max(longest_, value.size() * kLongestEscape);
  each_spelling(value, [&](std::string spelling) {
    if (spelling.size() >= kShortest && value.size() >= kShortest) {
      needles_.emplace_back(std::move(spelling));
    } else if (spelling.size() >= kShortestWord || spelling == value) {
      words_.emplace_back(std::move(spelling));
    }
  });
}

void Redactor::add(const Secret& secret) {
  const std::string_view value = secret.reveal();
  const std::string_view whole = trim(value);
  if (whole.empty()) return;
  if (whole.size() < kShortest) {
    const auto same = [&](std::string_view word) { return equals_without_case(whole, word); };
    if (std::ranges::any_of(kOrdinary, same) || std::ranges::binary_search(words_, whole, {}, revealed)) return;
    take(whole);
    return sort_once(words_);
  }
  if (std::ranges::binary_search(needles_, value, {}, revealed)) return;
  const auto line = [&](std::string_view text) {
    text = trim(text);
    if (text.size() >= kShortestLine && !is_common(text)) take(text);
  };
  take(value);
  if (whole.size() < value.size()) take(whole);
  split_at(whole, "\n", [&](std::string_view text) {
    if (text.size() < whole.size()) line(text);
    // A key inside of JSON, or a variable that has its line breaks escaped: who uses it prints it with real ones.
    if (text.find("\\n") == std::string_view::npos) return;
    split_at(text, "\\n",
             [&](std::string_view part) { line(part.ends_with("\\r") ? part.substr(0, part.size() - 2) : part); });
  });
  sort_once(needles_);
  sort_once(words_);
  starts_.assign(std::bit_ceil(needles_.size() * kPlaces), false);
  for (const Secret& needle : needles_) {
    starts_[place_of(needle.reveal())] = true;
    longest_needle_ = std::max(longest_needle_, needle.reveal().size());
  }
}

bool Redactor::Budget::spend(std::size_t more) {
  bytes -= std::min(bytes, more);
  return bytes > 0;
}

std::size_t Redactor::place_of(std::string_view start) const {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, start.data(), kShortest);
  return static_cast<std::size_t>((bytes * 0x9E3779B97F4A7C15u) >> 32) & (starts_.size() - 1);
}

std::span<const Secret> Redactor::beginning_as(std::string_view text) const {
  if (!starts_[place_of(text)]) return {};
  const std::string_view start = text.substr(0, kShortest);
  const auto first = std::ranges::lower_bound(needles_, start, {}, revealed);
  auto last = first;
  while (last != needles_.end() && last->reveal().starts_with(start)) ++last;
  return {first, last};
}

bool Redactor::is_prefix(std::string_view prefix, std::string_view of, Budget& budget) {
  if (prefix.size() > of.size()) return false;
  for (std::size_t at = 0; at < prefix.size(); at += kStep) {
    const std::string_view part = prefix.substr(at, kStep);
    if (!budget.spend(part.size()) || !of.substr(at).starts_with(part)) return false;
  }
  return true;
}

// Looks at each place of the text once, however many needles there are: a key file has hundreds.
void Redactor::find_needles(std::string_view text, From from, Budget& budget, std::vector<Range>& into) const {
  if (needles_.empty()) return;
  std::map<const Secret*, bool> own;  // asked once of each, however often it stands there
  const auto stays = [&](const Secret& needle) {
    if (from == From::kOutside) return false;
    const auto [found, fresh] = own.try_emplace(&needle, false);
    if (fresh) found->second = is_own_word(needle.reveal());
    return found->second;
  };
  for (std::size_t at = 0; at + kShortest <= text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    std::size_t length = 0;
    for (const Secret& needle : beginning_as(rest)) {
      if (needle.reveal().size() <= length || !is_prefix(needle.reveal(), rest, budget)) continue;
      if (!stays(needle)) length = needle.reveal().size();
    }
    if (budget.bytes == 0) return into.push_back({at, text.size()});
    if (length > 0) into.push_back({at, at + length});
  }
}

void Redactor::find_words(std::string_view text, From from, std::vector<Range>& into) const {
  for (const Secret& secret : words_) {
    const std::string_view word = secret.reveal();
    if (from == From::kUs && text.contains(word) && is_own_word(word)) continue;
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; ++at) {
      const std::size_t end = at + word.size();
      // Before the beginning at - 1 and at - 2 are past every end.
      if (goes_on(text, at - 1, at - 2, word.front()) || goes_on(text, end, end + 1, word.back())) continue;
      if (word.size() >= kShortestWord || is_where_values_stand(text, at)) into.push_back({at, end});
    }
  }
}

// Of the longest beginning of a secret that ends the text.
std::size_t Redactor::length_of_broken(std::string_view text, Budget& budget) const {
  std::size_t length = std::min(text.size(), longest_needle_);
  for (; length >= kShortest; --length) {
    const std::string_view tail = text.substr(text.size() - length);
    for (const Secret& needle : beginning_as(tail)) {
      if (is_prefix(tail, needle.reveal(), budget) || budget.bytes == 0) return length;
    }
  }
  for (; length >= kTelling; --length) {
    const std::string_view tail = text.substr(text.size() - length);
    const auto needle = std::ranges::lower_bound(needles_, tail, {}, revealed);
    if (needle != needles_.end() && needle->reveal().starts_with(tail)) return length;
  }
  return 0;
}

void Redactor::find_broken(std::string_view text, End end, Budget& budget, std::vector<Range>& into) const {
  if (needles_.empty()) return;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t mark = text.find(kShortened, begin);
    if (mark == std::string_view::npos && end == End::kWhole) return;
    const std::size_t stop = std::min(mark, text.size());
    const std::string_view piece = text.substr(begin, stop - begin);
    // Its last character may be one that an escape was to give.
    const std::size_t escape = piece.find_last_of("\\%");
    const bool half = escape != std::string_view::npos && piece.size() - escape < kLongestEscape;
    std::size_t length = length_of_broken(piece, budget);
    if (const std::size_t before = half ? length_of_broken(piece.substr(0, escape), budget) : 0; before > 0)
      length = std::max(length, before + piece.size() - escape);
    if (length > 0) into.push_back({stop - length, stop});
    begin = stop + kShortened.size();
  }
}

std::vector<Redactor::Range> Redactor::find(std::string_view text, End end, From from) const {
  std::vector<Range> found;
  if (empty()) return found;
  const auto look = [&](std::string_view view) {
    Budget budget{kComparedAtLeast + (kCompared * view.size())};
    find_needles(view, from, budget, found);
    find_words(view, from, found);
    budget = {kComparedAtLeast + (kCompared * view.size())};
    find_broken(view, end, budget, found);
  };
  look(text);
  for (const Unescaped& view : unescaped(text)) {
    const std::size_t before = found.size();
    look(view.text);
    for (std::size_t i = before; i < found.size(); ++i) {
      const auto [first, past] = found[i];
      found[i] = {view.from[first], view.to.empty() ? view.from[past] : view.to[past - 1]};
    }
  }
  std::ranges::sort(found, {}, &Range::begin);
  std::vector<Range> ranges;
  for (const Range& one : found) {
    if (!ranges.empty() && one.begin < ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, one.end);
    } else {
      ranges.push_back(one);
    }
  }
  return ranges;
}

std::string Redactor::replaced(std::string_view text, const std::vector<Range>& ranges) {
  std::string out;
  std::size_t done = 0;
  for (const Range& range : ranges) {
    out += text.substr(done, range.begin - done);
    out += "***";
    done = range.end;
  }
  return out += text.substr(done);
}

std::string Redactor::operator()(std::string_view text) const {
  return replaced(text, find(text, End::kWhole, From::kOutside));
}

std::string Redactor::sentence(std::string_view text) const {
  return replaced(text, find(text, End::kWhole, From::kUs));
}

std::size_t Redactor::cut(std::string_view text, std::size_t at) const {
  if (at >= text.size()) return text.size();
  for (const Range& range : find(text, End::kWhole, From::kOutside)) {
    if (range.begin < at && at < range.end) return range.begin > 0 ? range.begin : range.end;
  }
  return at;
}

std::string Redactor::broken_off(std::string_view text) const {
  return replaced(text, find(text, End::kBroken, From::kOutside));
}

}  // namespace mcpbox
