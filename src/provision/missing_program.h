// What to do about a command that a sandbox does not have.
#pragma once

#include <string>
#include <string_view>

namespace mcpbox::provision {

// A clause for people: which package brings the program to this machine (when sandboxes show its
// system), or that the image lacks it. `image_id` is the profile's; `program` is argv[0] as it was started.
std::string missing_program_hint(std::string_view program, std::string_view image_id);

// How this machine gets the program: "install uv (…)".
std::string how_to_install(std::string_view program);

}  // namespace mcpbox::provision
