// `mcpbox check` and `mcpbox explain SERVER`: what a configuration says, without an engine.
#pragma once

#include <string>
#include <vector>

#include "config/load.h"
#include "config/settings.h"

namespace mcpbox::app {

// Every problem of the file: what cannot be read, and then what its servers would be refused for. Warnings beside them
// change nothing of the exit code, which it returns.
int check_config(const std::string& file, bool as_json);

// What a start of its servers would be refused for, as the planner that starts them says it, each with its place;
// sorted by place. Secrets are taken out. Reads the host's directories and changes nothing.
std::vector<config::Problem> plan_problems(const config::Settings& settings);

// Rules that let nothing through (egress::closed_rules), each with its place: the servers start all the same.
std::vector<config::Problem> network_warnings(const config::Settings& settings);

// `mcpbox explain --config FILE SERVER`. `engine` over the configuration's: decides what is said of toolchains.
int explain_server(const std::string& file, const std::string& server, const std::string& engine, bool as_json);

}  // namespace mcpbox::app
