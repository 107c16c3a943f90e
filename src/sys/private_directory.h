// Directories that only this user can enter.
#pragma once

#include <string>

#include "base/result.h"

namespace mcpbox::sys {

// Makes the directory 0700, or takes the one that is there if it is ours, no link, nobody else can enter it and we can
// use it; else kPermissionDenied, with what mends it. True when it was made. Its parent must be there.
Result<bool> make_private_directory(const std::string& path);

// The same, with the parents that are missing (0700 too).
Result<void> make_private_path(const std::string& path);

// kPermissionDenied, with what mends it, when we cannot list, enter and write the directory: its mode, or a read-only
// file system.
Result<void> check_usable_directory(const std::string& path);

}  // namespace mcpbox::sys
