// How far beyond a limit of disk or files the file system lets a server write where it holds the limit, for both sides
// of the link: who is refused has been seen to pass it.
#pragma once

#include <cstdint>

namespace mcpbox::box::wire {

// More than what makes the walker look (init/disk_gauge.h).
inline constexpr std::uint64_t kRoomBytes = 2ull << 20, kRoomFiles = 200;

}  // namespace mcpbox::box::wire
