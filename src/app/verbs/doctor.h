// `mcpbox doctor` and `mcpbox image`: what this machine can do, and the images that sandboxes are made from.
#pragma once

#include <string>

namespace mcpbox::app {

// Looks at the engine, the image, the kernel inside a sandbox and mcpbox's own directories; exit code kFailed when
// something is missing.
int doctor(const std::string& engine, bool as_json);

int build_image(const std::string& engine, const std::string& ca_bundle);
int list_images(const std::string& engine, bool as_json);
int pull_image(const std::string& engine, const std::string& reference);

}  // namespace mcpbox::app
