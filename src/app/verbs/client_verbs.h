// The verbs that talk to a running daemon: ps, tools, call, logs, restart, stop. Each returns the exit code.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace mcpbox::app {

struct ClientOptions {
  std::string socket;
  bool json = false;  // --format json
};

struct ListOptions {
  bool phases = false;  // how long each phase of the start took
  // Seconds to wait until every server is connected, stopped or failed; also for the daemon itself to come up.
  unsigned wait = 0;
};
// With `wait`: kNotConnected when a server that should run does not.
int list_servers(const ClientOptions& options, const ListOptions& list);
int list_tools(const ClientOptions& options, const std::string& server);  // empty = of all servers

struct CallOptions {
  std::string server;
  std::string tool;
  std::vector<std::string> arguments;  // key=value; key:=JSON for other types than text
  std::string json;                    // --json: the whole arguments object, "-" = from stdin
};
// The arguments object as JSON text. kInvalidArgument names what cannot be read.
Result<std::string> call_arguments(const CallOptions& call);
int call_tool(const ClientOptions& options, const CallOptions& call);

int show_logs(const ClientOptions& options, const std::string& server, bool follow);
int restart_server(const ClientOptions& options, const std::string& server, bool fresh);
int stop_server(const ClientOptions& options, const std::string& server);

}  // namespace mcpbox::app
