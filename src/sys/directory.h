// Reads a directory's names, sorted and bounded.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"

namespace mcpbox::sys {

// The names in the open directory `fd` without "." and "..", in byte order, so that every reader of one tree sees one
// order. Moves the position of `fd` and leaves it open. kResourceExhausted when there are more than `limit`.
Result<std::vector<std::string>> read_names(int fd, std::size_t limit);

}  // namespace mcpbox::sys
