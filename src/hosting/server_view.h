// A copy of what there is to see of a server, for tables and JSON.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "hosting/lifecycle.h"
#include "hosting/server_state.h"

namespace mcpbox::hosting {

struct ServerView {
  std::string name;
  ServerState state = ServerState::kStopped;
  provision::Phase phase = provision::Phase::kNone;  // of the attempt that runs, or in which it failed
  std::string error;                                 // for people; empty when all is well
  std::string sandbox;                               // the sandbox's name on the engine
  std::string process;                               // process id
  pid_t pid = 0;
  uid_t uid = 0;
  unsigned restarts = 0;  // since the daemon started
  std::size_t tool_count = 0;
  std::string server_name, server_version, protocol_version;
  std::string environment;        // hash of the installed environment that it uses or used last; empty = none
  std::string packages;           // what is in it, in short
  std::string network;            // none, allowlist or public
  std::vector<PhaseTime> phases;  // of the newest attempt
  std::chrono::milliseconds uptime{0};
};

}  // namespace mcpbox::hosting
