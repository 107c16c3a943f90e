#include "json/text.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>

namespace mcpbox::json {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr char kHex[] = "0123456789abcdef";

void append_utf8(std::string& out, char32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    out += static_cast<char>(0x80 | (point >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

// Four hexadecimal digits at `at`; -1 when they are not there.
int hex4(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

// Length of the well-formed sequence at `at`, or minus the length of the ill-formed part (Unicode 3.9, table 3-7).
int sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return 1;
  int length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return -1;
  }
  for (int i = 1; i < length; ++i) {
    const std::size_t next = at + static_cast<std::size_t>(i);
    if (next >= text.size() || byte(next) < low || byte(next) > high) return -i;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

std::optional<std::string> repair_utf8(std::string_view text, std::size_t limit) {
  std::string out;
  out.reserve(std::min(text.size() + 16, limit));
  for (std::size_t at = 0; at < text.size();) {
    const int length = sequence(text, at);
    const std::string_view piece =
        length > 0 ? text.substr(at, static_cast<std::size_t>(length)) : std::string_view(kReplacement);
    if (out.size() + piece.size() > limit) return std::nullopt;
    out += piece;
    at += static_cast<std::size_t>(length > 0 ? length : -length);
  }
  return out;
}

std::string repair_utf8(std::string_view text) {
  return *repair_utf8(text, std::string::npos);
}

std::string quote(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  append_quoted(out, text);
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  if (!valid_utf8(text)) return append_quoted(out, repair_utf8(text));
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

std::string unescape(std::string_view inside) {
  std::string out;
  out.reserve(inside.size());
  for (std::size_t i = 0; i < inside.size(); ++i) {
    if (inside[i] != '\\' || i + 1 == inside.size()) {
      out += inside[i];
      continue;
    }
    switch (const char kind = inside[++i]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        const int unit = hex4(inside, i + 1);
        if (unit < 0) {
          out += kReplacement;
          break;
        }
        i += 4;
        if (unit < 0xD800 || unit > 0xDFFF) {
          append_utf8(out, static_cast<char32_t>(unit));
          break;
        }
        const bool pair = unit < 0xDC00 && inside.substr(i + 1, 2) == "\\u";
        const int low = pair ? hex4(inside, i + 3) : -1;
        if (low >= 0xDC00 && low <= 0xDFFF) {
          append_utf8(out,
                      0x10000 + (static_cast<char32_t>(unit - 0xD800) << 10) + static_cast<char32_t>(low - 0xDC00));
          i += 6;
        } else {
          out += kReplacement;
        }
        break;
      }
      default:
        out += kind;
    }
  }
  return out;
}

std::optional<std::string> string_of(std::string_view raw) {
  if (raw.size() < 2 || raw.front() != '"' || raw.back() != '"') return std::nullopt;
  return unescape(raw.substr(1, raw.size() - 2));
}

}  // namespace mcpbox::json
