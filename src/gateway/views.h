// What the control API shows of the daemon and its servers, as JSON (docs/control-api.md has the members).
#pragma once

#include <string>

#include "gateway/control_api.h"
#include "json/writer.h"
#include "provision/server_log.h"

namespace mcpbox::gateway {

// As the next value of `out`.
void write_view(json::Writer& out, const hosting::ServerView& view);

std::string servers_json(const ControlContext& context);
std::string status_json(const ControlContext& context);
std::string log_line_json(const provision::LogLine& line);

}  // namespace mcpbox::gateway
