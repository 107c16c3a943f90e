// Where things are inside of every sandbox. Header-only.
#pragma once

#include <string_view>

#include "base/way_out.h"  // the egress mount holds its socket

namespace mcpbox::box {

inline constexpr std::string_view kWorkspaceMount = "/workspace";
inline constexpr std::string_view kCacheMount = "/cache";
inline constexpr std::string_view kCaBundleMount = "/.box/ca-bundle.pem";
// Where the directory of the way out (base/way_out.h) is mounted. The outer of the two directories is closed to
// everybody but PID 1: servers may have the uid that the inner one belongs to.
inline constexpr std::string_view kEgressCover = "/.boxnet";
inline constexpr std::string_view kEgressMount = "/.boxnet/egress";
inline constexpr std::string_view kControlMount = "/.boxrun";
inline constexpr std::string_view kInitMount = "/.box/mcpbox-init";

}  // namespace mcpbox::box
