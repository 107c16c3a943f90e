// A configured server as the workspace module sees it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/settings.h"
#include "workspace/plan.h"

namespace mcpbox::hosting {

// What starting the server would bring in, run and install. Reads the host's directories; changes nothing and asks no engine. What the
// policy forbids is in Plan::refused.
Result<workspace::Plan> plan_server(const config::ServerSettings& settings, const std::vector<std::string>& allowed_roots, const std::string& home,
                                    const std::string& image_id);

}  // namespace mcpbox::hosting
