// Names that a server's tree has beside the mounts of its roots.
#pragma once

#include <string>
#include <string_view>

#include "workspace/path_text.h"

namespace mcpbox::provision {

inline constexpr std::string_view kKept = ".kept-";        // a copy, or a directory of copies, that is not used now
inline constexpr std::string_view kUnfinished = ".next.";  // what is being unpacked, or what is left of it

using workspace::base_name;
using workspace::parent_of;
inline bool is_kept(const std::string& path) {
  return path.find("/" + std::string(kKept)) != std::string::npos;
}

}  // namespace mcpbox::provision
