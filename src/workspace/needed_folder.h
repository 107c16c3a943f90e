// Whether a command needs anything of the folder that it is started in. Reads the host's directories, changes nothing.
#pragma once

#include <string>

#include "workspace/command.h"
#include "workspace/plan.h"

namespace mcpbox::workspace {

// What of the command lies in `folder` ("the script 'server.py'"), for people; empty when nothing does, so that nothing
// of it has to be copied. What lies in a folder that is mounted is there already. A project counts from `folder` up to
// `limit` (both canonical; no `limit`: `folder` alone), for programs that find theirs by themselves.
std::string needed_in(const std::string& folder, const std::string& limit, const LaunchSpec& spec,
                      const Command& command);

// A text that can be a path relative to some folder: no option, no URL, not absolute here or on another system.
bool may_be_relative(std::string_view text);

}  // namespace mcpbox::workspace
