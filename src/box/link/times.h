// How long requests to mcpbox-init may take, where it is not the time that the link was made with.
#pragma once

#include <chrono>

namespace mcpbox::box {

// Trees can be large; mcpbox-init gives up by itself after 15 minutes.
inline constexpr std::chrono::milliseconds kTreeTime = std::chrono::minutes(16);
inline constexpr std::chrono::milliseconds kKillTime = std::chrono::seconds(10);

}  // namespace mcpbox::box
