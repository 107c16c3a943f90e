// `mcpbox serve`: the daemon; `mcpbox down`: its end, also when it is not there any more.
#pragma once

#include <string>

namespace mcpbox::app {

struct ServeOptions {
  std::string config;
  std::string socket;  // over daemon.socket
  std::string engine;  // over engine:
  bool verbose = false;
};
int serve(const ServeOptions& options);

struct DownOptions {
  std::string config;  // where daemon.socket, daemon.state_dir and engine come from; may be empty
  std::string socket;
  std::string engine;    // empty: the daemon's, then what is left over on the others
  bool volumes = false;  // the environments and copies as well, of the first engine
};
int down(const DownOptions& options);

}  // namespace mcpbox::app
