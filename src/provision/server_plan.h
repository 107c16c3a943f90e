// A configured server as the workspace module sees it.
#pragma once

#include <string>
#include <vector>

#include "base/redact.h"
#include "base/result.h"
#include "config/settings.h"
#include "provision/instance_id.h"
#include "provision/stage/stager.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// What of this host servers may be shown.
struct PlanPolicy {
  std::vector<std::string> allowed_roots;
  std::vector<std::string> denied;        // the engine's socket, mcpbox's own directories
  std::string home;                       // of the operator
  std::vector<std::string> secret_files;  // secret_files_of(): never staged
  bool locked = false;                    // only what lock files, hashes or exact versions name is installed
  std::string state_dir;                  // its ledger says what is to be resolved anew; empty = nothing
  std::vector<std::string> origin;        // Installer::origin(); not needed where nothing is installed by the plan

  StagePolicy staging() const;
};

// Every secret of the server's settings.
std::vector<Secret> secrets_of(const config::ServerSettings& settings);
// Knows these, and `more`.
Redactor redactor_for(const config::ServerSettings& settings, const Secret& more = {});

// The configuration file and all that it reads secrets from; absolute.
std::vector<std::string> secret_files_of(const config::Settings& settings);

// What starting this instance of the server would bring in, run and install. Reads the host's directories; changes
// nothing and asks no engine. What the policy forbids is in Plan::refused.
Result<workspace::Plan> plan_server(const config::ServerSettings& settings, const InstanceId& id,
                                    const PlanPolicy& host, const std::string& image_id);

}  // namespace mcpbox::provision
