// The verbs that talk to a running daemon: ps, tools, call, logs, restart, stop. Each returns the exit code.
#pragma once

#include <string>
#include <vector>

namespace mcpbox::app {

struct ClientOptions {
  std::string socket;
  bool json = false;  // --format json
};

int list_servers(const ClientOptions& options);
int list_tools(const ClientOptions& options, const std::string& server);  // empty = of all servers

struct CallOptions {
  std::string server;
  std::string tool;
  std::vector<std::string> arguments;  // key=value; key:=JSON for other types than text
  std::string json;                    // --json: the whole arguments object, "-" = from stdin
};
int call_tool(const ClientOptions& options, const CallOptions& call);

int show_logs(const ClientOptions& options, const std::string& server, bool follow);
int restart_server(const ClientOptions& options, const std::string& server, bool fresh);
int stop_server(const ClientOptions& options, const std::string& server);

}  // namespace mcpbox::app
