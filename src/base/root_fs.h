// What the id of a sandbox's root file system stands for. Header-only.
#pragma once

#include <string_view>

namespace mcpbox {

// The image that is this machine's own system; engines add what tells one state of it from another: "host:4f2a…".
inline constexpr std::string_view kHostSystem = "host";

enum class RootFs {
  kImage,       // an image of an engine's store
  kFolder,      // an absolute host path
  kHostSystem,  // this machine's own system
};

constexpr RootFs root_fs_of(std::string_view image_id) {
  if (image_id.starts_with('/')) return RootFs::kFolder;
  const bool host =
      image_id == kHostSystem || (image_id.starts_with(kHostSystem) && image_id[kHostSystem.size()] == ':');
  return host ? RootFs::kHostSystem : RootFs::kImage;
}

}  // namespace mcpbox
