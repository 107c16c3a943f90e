// Which namespaces of their own an engine lets its containers give to servers: tried with the first sandbox, best
// first, and remembered.
//
// An engine may not know the options, its AppArmor profile may deny mounts, the kernel may keep user namespaces from
// ordinary users. PID 1 tries before it listens and ends when it cannot, so a machine where it can pays nothing.
#pragma once

#include <string>

#include "box/docker/client.h"
#include "box/docker/profile.h"

namespace mcpbox::box {

class DockerSpacesFinder {
 public:
  DockerSpacesFinder(DockerClient& client, std::string note) : client_(client), note_(std::move(note)) {}

  // docker_create() with the best that works here. `socket`: where PID 1 listens on the host once it is up; empty for a
  // PID 1 that is not mcpbox-init, which gets kNone.
  Task<Result<SandboxState>> create(SandboxSpec spec, std::string socket);

 private:
  Task<void> recall(std::string init);
  Task<void> remember(std::string init, DockerSpaces found);
  Task<Result<std::string>> key(std::string init);
  Task<Result<SandboxState>> attempt(SandboxSpec spec, std::string socket, DockerSpaces spaces);

  DockerClient& client_;
  std::string note_;
  DockerSpaces best_ = DockerSpaces::kAll;
  bool recalled_ = false;
};

}  // namespace mcpbox::box
