// What every engine checks of a sandbox before it makes one.
#pragma once

#include <string_view>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

inline constexpr std::string_view kLabelPrefix = "io.mcpbox.";

// kInvalidArgument names the field: names, labels, absolute normal targets that are distinct and hide no system folder,
// sane limits.
Result<void> check_sandbox_spec(const SandboxSpec& spec);

// Whether `found` has every label of `wanted` with its value.
bool labels_match(const Labels& wanted, const Labels& found);

// Absolute, and equal to its own normal form: no empty, "." or ".." component; not "/".
bool is_normal_path(std::string_view path);
// Mounting over these (/proc, /sys, /dev) would take away what protects the sandbox.
bool hides_system(std::string_view target);
// 1 to 128 of a-z, 0-9, '_', '.' and '-', beginning with none of the last two.
bool is_volume_name(std::string_view name);
bool is_image_reference(std::string_view text);  // name[:tag][@digest], or sha256:…

}  // namespace mcpbox::box
