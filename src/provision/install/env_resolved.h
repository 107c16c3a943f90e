// What an installation chose: names and versions, read from the files that uv and npm leave beside the packages.
//
// The environment's content is hostile: every name is judged, sizes and numbers are bounded, nothing of it is executed.
#pragma once

#include <string>
#include <vector>

#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/install/env_record.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// Fills `resolved` and `packages`. What was asked for by name stands first. Nothing is filled where nothing can be
// read.
Task<void> read_resolved(box::Supervisor& supervisor, const workspace::InstallPlan& plan, EnvRecord& record);

// "name==version" of "name-version.dist-info" (PEP 376, PEP 427); empty for another name.
std::string python_distribution_of(const std::string& directory);
// "name@version" of the entries of node_modules/.package-lock.json.
std::vector<std::string> npm_packages_of(std::string_view hidden_lock);
// "@scope/name@version" of a directory of node_modules/.pnpm: "@scope+name@1.2.3_peer@4".
std::string pnpm_package_of(const std::string& directory);

}  // namespace mcpbox::provision
