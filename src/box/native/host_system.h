// What stands for images on the native engine: this machine's own system, and folders that hold another.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

// PRETTY_NAME of os-release(5), printable; "Linux" where there is none.
std::string host_system_name();

// "" and `host`: this machine's own system, whose id is another one when the system or a runtime of it is: environments
// that were installed with one are not used with the next. An absolute path: the root file system in that folder.
// `tools`: folders of the host that sandboxes of its system see, from and to. kUnsupported: it is the name of an image.
Result<ImageInfo> native_image(const std::string& reference,
                               const std::vector<std::pair<std::string, std::string>>& tools);

}  // namespace mcpbox::box
