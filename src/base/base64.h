// Base64 (RFC 4648, 4), by OpenSSL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mcpbox {

// With padding, on one line.
std::string base64_encode(std::string_view data);

// Strict: the alphabet of RFC 4648 and nothing else, no white space. Padding may be missing, as some clients send it,
// and bits behind the last byte are not looked at. nullopt for anything else, and for more than 64 MiB.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace mcpbox
