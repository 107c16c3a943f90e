#include "base/redact_spelling.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/base64.h"

namespace mcpbox {
namespace {

constexpr unsigned kDepth = 3;                // a server's JSON, in a message of its own, in an answer of ours
constexpr std::size_t kColumns[] = {64, 76};  // PEM (RFC 7468), MIME (RFC 2045)

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The number that `digits` hexadecimal digits at `at` mean, or -1.
int hex_number(std::string_view text, std::size_t at, std::size_t digits) {
  if (at + digits > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + digits; ++i) {
    const int digit = hex_digit(text[i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

// Of at most three octal digits at `at`: how many there are, and the byte that they mean.
std::pair<std::size_t, int> octal_number(std::string_view text, std::size_t at) {
  std::size_t digits = 0;
  int value = 0;
  for (; digits < 3 && at + digits < text.size(); ++digits) {
    const char c = text[at + digits];
    if (c < '0' || c > '7' || value * 8 + (c - '0') > 0xFF) break;
    value = value * 8 + (c - '0');
  }
  return {digits, value};
}

std::string utf8(std::uint32_t point) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  if (point < 0x80) return {byte(point)};
  const char last = byte(0x80 | (point & 0x3F));
  if (point < 0x800) return {byte(0xC0 | (point >> 6)), last};
  const char middle = byte(0x80 | ((point >> 6) & 0x3F));
  if (point < 0x10000) return {byte(0xE0 | (point >> 12)), middle, last};
  return {byte(0xF0 | (point >> 18)), byte(0x80 | ((point >> 12) & 0x3F)), middle, last};
}

// "\u{6f}" and "\x{6f}" at `at`, with at most six digits.
std::pair<std::size_t, std::string> braced(std::string_view text, std::size_t at) {
  const std::size_t digits = text.substr(at + 3, 7).find('}');
  if (digits == std::string_view::npos || digits == 0) return {};
  const int point = hex_number(text, at + 3, digits);
  if (point < 0 || point > 0x10FFFF) return {};
  return {digits + 4, utf8(static_cast<std::uint32_t>(point))};
}

// The escape at `at`, which is a backslash: its length, 0 for none, and what it means.
std::pair<std::size_t, std::string> backslash(std::string_view text, std::size_t at) {
  if (at + 1 == text.size()) return {};
  constexpr std::string_view kNames = "nrtbf\"'\\/", kMeanings = "\n\r\t\b\f\"'\\/";
  const char kind = text[at + 1];
  if (const std::size_t found = kNames.find(kind); found != std::string_view::npos)
    return {2, std::string(1, kMeanings[found])};
  if (const auto [digits, byte] = octal_number(text, at + 1); digits > 0)
    return {1 + digits, std::string(1, static_cast<char>(byte))};
  if ((kind == 'x' || kind == 'u') && text.substr(at + 2).starts_with('{')) return braced(text, at);
  if (kind == 'U') {
    const int point = hex_number(text.substr(0, at + 10), at + 4, 6);
    const bool fits = text.substr(at + 2).starts_with("00") && point >= 0 && point <= 0x10FFFF;
    return fits ? std::pair(std::size_t{10}, utf8(static_cast<std::uint32_t>(point)))
                : std::pair<std::size_t, std::string>();
  }
  if (kind == 'x') {
    const int byte = hex_number(text, at + 2, 2);
    return byte < 0 ? std::pair<std::size_t, std::string>()
                    : std::pair(std::size_t{4}, std::string(1, static_cast<char>(byte)));
  }
  if (kind != 'u') return {};
  const int first = hex_number(text, at + 2, 4);
  if (first < 0) return {};
  if (first >= 0xD800 && first < 0xDC00 && text.substr(at + 6).starts_with("\\u")) {
    const int second = hex_number(text, at + 8, 4);
    if (second >= 0xDC00 && second < 0xE000)
      return {12, utf8(0x10000u + (static_cast<std::uint32_t>(first - 0xD800) << 10) +
                       static_cast<std::uint32_t>(second - 0xDC00))};
  }
  return {6, utf8(static_cast<std::uint32_t>(first))};
}

std::pair<std::size_t, std::string> percent(std::string_view text, std::size_t at) {
  const int byte = hex_number(text, at + 1, 2);
  if (byte < 0) return {};
  return {3, std::string(1, static_cast<char>(byte))};
}

// False when there was nothing to read.
bool unescape(const Unescaped& in, char mark, Unescaped& out) {
  const std::string_view text = in.text;
  if (!text.contains(mark)) return false;
  bool any = false;
  out.text.reserve(text.size());
  out.from.reserve(in.from.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto [length, meaning] = text[at] != mark ? std::pair<std::size_t, std::string>()
                                   : mark == '\\'   ? backslash(text, at)
                                                    : percent(text, at);
    any = any || length > 0;
    out.text += length > 0 ? std::string_view(meaning) : text.substr(at, 1);
    out.from.resize(out.text.size(), in.from[at]);
    at += std::max<std::size_t>(length, 1);
  }
  out.from.push_back(in.from.back());
  return any;
}

void add_unescaped(const Unescaped& of, unsigned depth, std::vector<Unescaped>& all) {
  for (const char mark : {'\\', '%'}) {
    Unescaped read;
    if (!unescape(of, mark, read)) continue;
    if (depth > 1) add_unescaped(read, depth - 1, all);
    all.push_back(std::move(read));
  }
}

// ---- hexadecimal in groups

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct Group {
  std::size_t digits, end;  // where its digits begin; one behind them
};

// An even number of hexadecimal digits at `at`, with or without 0x, that nothing goes on from.
std::optional<Group> hex_group(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  if (rest.starts_with("0x") || rest.starts_with("0X")) at += 2;
  std::size_t end = at;
  while (end < text.size() && hex_digit(text[end]) >= 0) ++end;
  if (end == at || (end - at) % 2 != 0 || (end < text.size() && is_alphanumeric(text[end]))) return std::nullopt;
  return Group{at, end};
}

// Where the next group may begin behind one that ends at `end`: past at most one mark and two spaces.
std::size_t behind_separator(std::string_view text, std::size_t end) {
  std::size_t at = end;
  if (at < text.size() && std::string_view(":-,._|").contains(text[at])) ++at;
  for (int spaces = 0; spaces < 2 && at < text.size() && (text[at] == ' ' || text[at] == '\n'); ++spaces) ++at;
  return at;
}

// False when there is no group with another one beside it. Looks at each byte a few times at most.
bool read_groups(std::string_view text, Unescaped& out) {
  bool any = false;
  const auto put = [&](char c, std::size_t from, std::size_t to) {
    out.text += c;
    out.from.push_back(from);
    out.to.push_back(to);
  };
  for (std::size_t at = 0; at < text.size();) {
    auto group = at == 0 || !is_alphanumeric(text[at - 1]) ? hex_group(text, at) : std::nullopt;
    if (!group) {
      put(text[at], at, at + 1);
      ++at;
      continue;
    }
    for (bool more = true; more;) {
      for (std::size_t digit = group->digits; digit < group->end; digit += 2)
        put(static_cast<char>(hex_number(text, digit, 2)), digit == group->digits ? at : digit, digit + 2);
      at = group->end;
      const std::size_t next = behind_separator(text, at);
      const auto following = next > at ? hex_group(text, next) : std::nullopt;
      more = following.has_value();
      any = any || more;
      if (more) {
        group = following;
        at = next;
      }
    }
  }
  out.from.push_back(text.size());
  return any;
}

// Only what the value alone decides: the characters beside it depend on its neighbours.
std::string base64_behind(std::size_t bytes_before, std::string_view value) {
  std::string text(bytes_before, '\0');
  text += value;
  const std::string encoded = base64_encode(text);
  const std::size_t begin = (bytes_before * 8 + 5) / 6, end = text.size() * 8 / 6;
  return end > begin ? encoded.substr(begin, end - begin) : "";
}

}  // namespace

void each_spelling(std::string_view value, const std::function<void(std::string)>& each) {
  each(std::string(value));
  // Forms write a space so (application/x-www-form-urlencoded).
  if (value.contains(' ')) {
    std::string form(value);
    std::ranges::replace(form, ' ', '+');
    each(std::move(form));
  }
  for (std::size_t before = 0; before < 3; ++before) {
    const std::string encoded = base64_behind(before, value);
    std::string url = encoded;
    std::ranges::replace(url, '+', '-');
    std::ranges::replace(url, '/', '_');
    if (url != encoded) each(std::move(url));
    for (const std::size_t columns : kColumns) {
      for (std::size_t at = 0; before == 0 && encoded.size() > columns && at < encoded.size(); at += columns)
        each(encoded.substr(at, columns));
    }
    each(encoded);
  }
  // And with nothing behind it.
  std::string alone = base64_encode(value);
  alone.erase(alone.find_last_not_of('=') + 1);
  each(std::move(alone));
  std::string lower, upper;
  for (const char c : value) {
    const unsigned byte = static_cast<unsigned char>(c);
    for (const unsigned half : {byte >> 4u, byte & 15u}) {
      lower += "0123456789abcdef"[half];
      upper += "0123456789ABCDEF"[half];
    }
  }
  each(std::move(lower));
  each(std::move(upper));
}

std::vector<Unescaped> unescaped(std::string_view text) {
  std::vector<Unescaped> all;
  if (Unescaped groups; read_groups(text, groups)) all.push_back(std::move(groups));
  if (text.find_first_of("\\%") == std::string_view::npos) return all;
  Unescaped plain{std::string(text), {}, {}};
  for (std::size_t at = 0; at <= text.size(); ++at) plain.from.push_back(at);
  add_unescaped(plain, kDepth, all);
  return all;
}

}  // namespace mcpbox
