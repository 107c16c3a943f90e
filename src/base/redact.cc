#include "base/redact.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/base64.h"
#include "base/text.h"
#include "base/url.h"

namespace mcpbox {
namespace {

constexpr std::size_t kShortest = 6;  // shorter values occur in ordinary text and would hide it
constexpr std::size_t kShortestLine = 8;
constexpr std::size_t kTelling = 4;  // bytes of a secret that would help to guess it
constexpr unsigned kHashBits = 14;

// Only whole groups: the last characters depend on what follows the secret in the encoded text.
std::string base64(std::string_view data) {
  return base64_encode(data.substr(0, data.size() - data.size() % 3));
}

std::string json_escaped(std::string_view data) {
  std::string out;
  for (const char c : data) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

// Lines of a secret that say nothing about it, and would hide ordinary text.
bool is_common(std::string_view line) {
  if (line.find_first_not_of(line.front()) == std::string_view::npos) return true;
  return line.ends_with("-----") && (line.starts_with("-----BEGIN ") || line.starts_with("-----END "));
}

std::size_t hash_of_start(std::string_view text) {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, text.data(), kShortest);
  return static_cast<std::size_t>((bytes * 0x9E3779B97F4A7C15u) >> (64 - kHashBits));
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

void take(std::string_view value, std::vector<Secret>& into) {
  for (std::string spelling : {std::string(value), base64(value), percent_encode(value), json_escaped(value)}) {
    if (spelling.size() >= kShortest) into.emplace_back(std::move(spelling));
  }
}

}  // namespace

void Redactor::add(const Secret& secret) {
  const std::string_view value = secret.reveal();
  if (value.size() < kShortest) return;
  std::vector<Secret> found = std::move(needles_);
  take(value, found);
  const std::string_view whole = trim(value);
  const auto line = [&](std::string_view text) {
    text = trim(text);
    if (text.size() >= kShortestLine && !is_common(text)) take(text, found);
  };
  if (whole.size() < value.size() && whole.size() >= kShortest) take(whole, found);
  split_at(whole, "\n", [&](std::string_view text) {
    if (text.size() < whole.size()) line(text);
    // A key inside of JSON, or a variable that has its line breaks escaped: who uses it prints it with real ones.
    if (text.find("\\n") == std::string_view::npos) return;
    split_at(text, "\\n",
             [&](std::string_view part) { line(part.ends_with("\\r") ? part.substr(0, part.size() - 2) : part); });
  });

  const auto less = [](const Secret& a, const Secret& b) { return a.reveal() < b.reveal(); };
  const auto same = [](const Secret& a, const Secret& b) { return a.reveal() == b.reveal(); };
  std::ranges::sort(found, less);
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  needles_ = std::move(found);
  starts_.assign(std::size_t{1} << kHashBits, false);
  for (const Secret& needle : needles_) {
    starts_[hash_of_start(needle.reveal())] = true;
    longest_ = std::max(longest_, needle.reveal().size());
  }
}

// Looks at each place of the text once, however many needles there are: a key file has hundreds.
std::vector<Redactor::Range> Redactor::find(std::string_view text) const {
  std::vector<Range> ranges;
  if (needles_.empty()) return ranges;
  for (std::size_t at = 0; at + kShortest <= text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    if (!starts_[hash_of_start(rest)]) continue;
    // All needles that begin the rest are sorted before it, and so is what shares their first bytes.
    const std::string_view start = rest.substr(0, kShortest);
    auto needle = std::ranges::lower_bound(needles_, start, {}, [](const Secret& one) { return one.reveal(); });
    std::size_t length = 0;
    for (; needle != needles_.end() && needle->reveal().starts_with(start); ++needle) {
      if (rest.starts_with(needle->reveal())) length = std::max(length, needle->reveal().size());
    }
    if (length == 0) continue;
    if (!ranges.empty() && at < ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, at + length);
    } else {
      ranges.push_back({at, at + length});
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
  return replaced(text, find(text));
}

std::size_t Redactor::cut(std::string_view text, std::size_t at) const {
  if (at >= text.size()) return text.size();
  for (const Range& range : find(text)) {
    if (range.begin < at && at < range.end) return range.begin > 0 ? range.begin : range.end;
  }
  return at;
}

std::string Redactor::broken_off(std::string_view text) const {
  std::vector<Range> ranges = find(text);
  for (std::size_t length = std::min(text.size(), longest_); length >= kTelling; --length) {
    const std::string_view end = text.substr(text.size() - length);
    if (length >= kShortest && !starts_[hash_of_start(end)]) continue;
    const auto needle = std::ranges::lower_bound(needles_, end, {}, [](const Secret& one) { return one.reveal(); });
    if (needle == needles_.end() || !needle->reveal().starts_with(end)) continue;
    Range open{text.size() - length, text.size()};
    while (!ranges.empty() && open.begin < ranges.back().end) {
      open.begin = std::min(open.begin, ranges.back().begin);
      ranges.pop_back();
    }
    ranges.push_back(open);
    break;
  }
  return replaced(text, ranges);
}

}  // namespace mcpbox
