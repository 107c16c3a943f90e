#include <optional>
#include <string>
#include <string_view>

#include "egress/rules/http_head.h"

namespace mcpbox::egress {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Some clients leave the padding out; all else must be exact.
std::optional<std::string> decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  unsigned bits = 0, have = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffffff;
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xff);
    }
  }
  return out;
}

}  // namespace

std::optional<Credential> parse_credential(std::string_view value) {
  if (value.size() < 6 || value.size() > 1024) return std::nullopt;
  const std::string_view scheme = value.substr(0, 5);
  for (std::size_t i = 0; i < 5; ++i) {
    if ((scheme[i] | 0x20) != "basic"[i]) return std::nullopt;
  }
  value.remove_prefix(5);
  while (value.starts_with(' ')) value.remove_prefix(1);
  const auto text = decode_base64(value);
  if (!text) return std::nullopt;
  const std::size_t colon = text->find(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  return Credential{text->substr(0, colon), text->substr(colon + 1)};
}

std::string basic_credential(std::string_view user, std::string_view password) {
  const std::string text = std::string(user) + ":" + std::string(password);
  std::string out = "Basic ";
  for (std::size_t i = 0; i < text.size(); i += 3) {
    unsigned bits = 0;
    const std::size_t have = std::min<std::size_t>(3, text.size() - i);
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < have ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= have ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace mcpbox::egress
