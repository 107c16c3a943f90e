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
  std::string engine;
  bool volumes = false;  // the environments as well
};
int down(const DownOptions& options);

// `mcpbox check FILE`: every problem of a configuration, without an engine.
int check_config(const std::string& file, bool as_json);

// `mcpbox explain --config FILE SERVER`.
int explain_server(const std::string& file, const std::string& server, bool as_json);

}  // namespace mcpbox::app
