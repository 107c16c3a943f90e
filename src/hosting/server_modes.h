// What differs between servers by how they are reached: a row for each config::Mode. Nothing else asks for the mode.
#pragma once

#include <string>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/backend.h"
#include "hosting/sandbox_connector.h"
#include "provision/server_plan.h"
#include "workspace/plan.h"

namespace mcpbox::hosting {

struct ServerMode {
  // provision::plan_server()'s contract: what `check` and `explain` tell of a server that is not started.
  Result<workspace::Plan> (*plan)(const config::ServerSettings& settings, const InstanceId& id,
                                  const provision::PlanPolicy& policy, const std::string& image);
  // Backend::make()'s.
  ServerParts (*make)(SandboxContext& context, const config::ServerSettings& settings);
};

const ServerMode& server_mode(config::Mode mode);

}  // namespace mcpbox::hosting
