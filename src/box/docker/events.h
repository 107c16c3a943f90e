// Reports which containers ended, from one engine's event stream, without losing any over a reconnection.
#pragma once

#include <functional>

#include "box/docker/client.h"
#include "box/engine.h"

namespace mcpbox::box {

// Engine::watch(). Ends only with the coroutine that awaits it.
Task<Result<void>> docker_watch(DockerClient& client, Labels labels, std::function<void(const SandboxState&)> handler);

}  // namespace mcpbox::box
