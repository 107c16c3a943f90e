// Part of http_head.h: the credential that a client sends.
#include <optional>
#include <string>
#include <string_view>

#include "base/base64.h"
#include "egress/rules/http_head.h"

namespace mcpbox::egress {
std::optional<Credential> parse_credential(std::string_view value) {
  if (value.size() < 6 || value.size() > 1024) return std::nullopt;
  const std::string_view scheme = value.substr(0, 5);
  for (std::size_t i = 0; i < 5; ++i) {
    if ((scheme[i] | 0x20) != "basic"[i]) return std::nullopt;
  }
  value.remove_prefix(5);
  while (value.starts_with(' ')) value.remove_prefix(1);
  const auto text = base64_decode(value);
  if (!text) return std::nullopt;
  const std::size_t colon = text->find(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  return Credential{text->substr(0, colon), text->substr(colon + 1)};
}

std::string basic_credential(std::string_view user, std::string_view password) {
  return "Basic " + base64_encode(std::string(user) + ":" + std::string(password));
}

}  // namespace mcpbox::egress
