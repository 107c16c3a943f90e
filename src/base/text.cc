#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace mcpbox {
namespace {

struct Decoded {
  char32_t point = 0;
  unsigned length = 0;  // 0 = invalid
};

// RFC 3629, table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
Decoded decode(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1};
  unsigned length = 0;
  unsigned char low = 0x80, high = 0xBF;
  char32_t point = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    point = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    point = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    point = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {};
  }
  if (at + length > text.size()) return {};
  for (unsigned i = 1; i < length; ++i) {
    const unsigned char next = byte(at + i);
    if (next < low || next > high) return {};
    low = 0x80;
    high = 0xBF;
    point = (point << 6) | (next & 0x3F);
  }
  return {point, length};
}

bool acts_on_a_reader(char32_t point) {
  if (point < 0x20) return point != '\t';
  return (point >= 0x7F && point <= 0x9F) || point == 0x061C || (point >= 0x200B && point <= 0x200F) ||
         (point >= 0x2028 && point <= 0x202E) || (point >= 0x2060 && point <= 0x2069) || point == 0xFEFF;
}

// Optimal string alignment: Levenshtein's, where two neighbours that changed places are one edit.
std::size_t edit_distance(std::string_view one, std::string_view other) {
  std::vector<std::size_t> before(other.size() + 1), above(other.size() + 1), row(other.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= one.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j < row.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (one[i - 1] == other[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  static constexpr std::string_view kCut = "…";
  std::string out;
  out.reserve(std::min(text.size(), limit) + 16);
  std::size_t room_for_cut = 0;  // the longest prefix of `out` behind which the mark still fits
  for (std::size_t at = 0; at < text.size();) {
    const Decoded next = decode(text, at);
    std::string piece;
    if (next.length == 0) {
      piece = fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
    } else if (next.point == '\n') {
      piece = "\\n";
    } else if (next.point == '\r') {
      piece = "\\r";
    } else if (acts_on_a_reader(next.point)) {
      piece = next.point < 0x100 ? fmt::format("\\x{:02x}", static_cast<unsigned>(next.point))
                                 : fmt::format("\\u{:04x}", static_cast<unsigned>(next.point));
    } else {
      piece.assign(text.substr(at, next.length));
    }
    const std::size_t consumed = next.length == 0 ? 1 : next.length;
    if (out.size() + piece.size() > limit) {
      out.resize(room_for_cut);
      if (limit >= kCut.size()) out += kCut;
      return out;
    }
    out += piece;
    if (out.size() + kCut.size() <= limit) room_for_cut = out.size();
    at += consumed;
  }
  return out;
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Decoded next = decode(text, at);
    if (next.length == 0) return false;
    at += next.length;
  }
  return true;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  std::size_t best_distance = 3;
  if (word.size() > 128) return best;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && 2 * distance < std::max(word.size(), candidate.size())) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  const std::string_view near = nearest(word, views);
  return near.empty() ? "" : fmt::format(" (did you mean '{}'?)", printable(near, 100));
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i != 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string grouped(unsigned long long number) {
  std::string text = fmt::format("{}", number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string human_bytes(unsigned long long bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  unsigned unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return value < 10 ? fmt::format("{:.1f} {}", value, kUnits[unit]) : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string human_milliseconds(double milliseconds) {
  if (milliseconds < 1000) return fmt::format("{:.0f} ms", milliseconds);
  const double seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string display_command(std::span<const std::string> argv) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,~";
  std::string out;
  for (const std::string& word : argv) {
    if (!out.empty()) out += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      out += word;
      continue;
    }
    out += '\'';
    for (const char c : word) {
      if (c == '\'') {
        out += "'\\''";
      } else {
        out += c;
      }
    }
    out += '\'';
  }
  return printable(out, 4096);
}

}  // namespace mcpbox
