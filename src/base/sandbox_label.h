// A sandbox's name as mcpbox-init's relay tells it the egress proxy: "MCPBOX1 <uid> <sandbox>\n".
#pragma once

#include <cstddef>
#include <string_view>

namespace mcpbox {

inline constexpr std::size_t kMaxSandboxLabel = 128;

constexpr bool is_sandbox_label(std::string_view text) {
  if (text.empty() || text.size() > kMaxSandboxLabel) return false;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

}  // namespace mcpbox
