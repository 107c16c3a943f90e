// Published ports as people write them, in the configuration and on the command line.
#pragma once

#include <string_view>

#include "base/result.h"
#include "config/settings.h"

namespace mcpbox::config {

inline constexpr std::size_t kMaxPublishedPorts = 16;  // of one server

// "PORT", or "HOST:SERVER" where the server listens on another one. kInvalidArgument says what is expected; it does not
// quote the text.
Result<PublishedPort> parse_port(std::string_view text);

}  // namespace mcpbox::config
