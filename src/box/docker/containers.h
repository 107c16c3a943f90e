// Life cycle of one engine's containers, for engine.cc.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "box/docker/client.h"
#include "box/docker/profile.h"
#include "box/engine.h"

namespace mcpbox::box {

// With `spaces` as wished for; kSpacesLabel says so. Where the answer to the creation is lost it waits up to 10 s for
// what the engine may have made, and removes it.
Task<Result<SandboxState>> docker_create(DockerClient& client, SandboxSpec spec, DockerSpaces spaces);
Task<Result<SandboxState>> docker_inspect(DockerClient& client, std::string id);
// PID 1 of a running one, by its number on the engine's machine, as the engine says.
struct DockerProcess {
  std::string container;
  pid_t pid = 0;
};
Task<Result<DockerProcess>> docker_first_process(DockerClient& client, std::string id);
Task<Result<std::vector<SandboxState>>> docker_list(DockerClient& client, Labels labels);
Task<Result<void>> docker_remove(DockerClient& client, std::string id);

// What an engine says while it restarts, or while what is in the way is ending.
bool removal_may_work_later(Code code);

// {"label":["k=v",…]}
std::string docker_filters(const Labels& labels);

}  // namespace mcpbox::box
