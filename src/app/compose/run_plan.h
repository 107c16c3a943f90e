// The pure part of `mcpbox run` and `mcpbox explain -- …`: makes the planner's question of the options.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "app/compose/run.h"
#include "base/result.h"
#include "box/process.h"
#include "config/settings.h"
#include "provision/install/installer.h"
#include "workspace/plan.h"

namespace mcpbox::app {

// "NAME=value" entries; a bare "NAME" passes our own value on, and is an error when it is not set.
Result<std::map<std::string, std::string>> run_environment(const std::vector<std::string>& entries);

provision::OfflineSources offline_sources(const RunOptions& options);

// The settings that a configuration with the same --network, --allow and --install-allow has. kInvalidArgument names
// the rule that cannot be read.
Result<config::ServerNetwork> run_network(const RunOptions& options);

// What --publish names. kInvalidArgument names the one that cannot be read, or stands there twice.
Result<std::vector<config::PublishedPort>> run_ports(const RunOptions& options);

// What the server may use, all of its processes together.
box::ServerLimits run_limits(const RunOptions& options);

// `state_dir`: whose ledger says what is to be resolved anew. `engine`: the address of the engine that was found, whose
// socket is shown to nobody; empty = RunOptions::engine.
Result<workspace::Plan> run_plan(const RunOptions& options, const std::map<std::string, std::string>& env,
                                 const std::string& image_id, const std::string& state_dir = "",
                                 const std::string& engine = "");

// Adds to the plan's reasons which folders of the user's PATH sandboxes of this machine's own system show: not where
// the engine or the image says that sandboxes are made from something else.
void explain_toolchains(workspace::Plan& plan, const std::string& engine, const std::string& image);

// Adds to what is refused that no user may run the server with its mounted folders, where that is so.
void foresee_user(workspace::Plan& plan);

}  // namespace mcpbox::app
