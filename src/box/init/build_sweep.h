// Removes what a sandbox left in its directories.
#pragma once

#include <string>

#include "box/init/op.h"

namespace mcpbox::box::init {

// Removes the tree at `path` without following links or leaving its file system; not being there is success. The caller
// may remove everything in it, whoever owns it; no sandbox works on it any more.
Op<void> sweep_tree(const std::string& path);

}  // namespace mcpbox::box::init
