// Life cycle of one engine's containers, for engine.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "box/docker/client.h"
#include "box/engine.h"

namespace mcpbox::box {

Task<Result<SandboxState>> docker_create(DockerClient& client, SandboxSpec spec);
Task<Result<SandboxState>> docker_inspect(DockerClient& client, std::string id);
Task<Result<std::vector<SandboxState>>> docker_list(DockerClient& client, Labels labels);
Task<Result<void>> docker_remove(DockerClient& client, std::string id);

// {"label":["k=v",…]}
std::string docker_filters(const Labels& labels);

}  // namespace mcpbox::box
