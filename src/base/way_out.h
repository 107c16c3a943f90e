// Where a sandbox meets the egress proxy. box/ makes the place, egress/ listens and names it.
#pragma once

#include <cstdint>
#include <string_view>

namespace mcpbox {

// Processes connect to 127.0.0.1:kEgressPort in their sandbox; mcpbox-init passes that on to the socket of this name in
// the directory of box::SandboxOptions::egress_dir.
inline constexpr std::uint16_t kEgressPort = 3128;
inline constexpr std::string_view kEgressSocket = "egress.sock";

}  // namespace mcpbox
