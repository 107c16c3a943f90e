// How a folder counts that PID 1 cannot look into, for both sides of the link.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mcpbox::box::wire {

// In each other.
inline constexpr std::size_t kMaxFolderDepth = 500;
// More files than any limit allows: who is said to have as many has a folder that is deeper, or closed to its own user.
inline constexpr std::uint64_t kHiddenFiles = 1ull << 40;

}  // namespace mcpbox::box::wire
