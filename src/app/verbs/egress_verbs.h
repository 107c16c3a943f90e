// `mcpbox egress serve | tail | suggest`.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace mcpbox::app {

// Adds the verb `egress` to the command line; its callbacks set `code`, which outlives `app`'s parsing.
void add_egress_verbs(CLI::App& app, int& code);

struct EgressServeOptions {
  std::string listen;  // unix socket
  std::string audit_dir;
  std::string socket_mode = "600";  // octal
  bool for_options = false;         // SettingsFrom::kOptions
};
// Started by mcpbox itself with the control channel as descriptor 3. Returns the exit code.
int egress_serve(const EgressServeOptions& options);

struct EgressLogOptions {
  std::string audit_dir;  // where the daemon's proxy writes: <state>/egress
  std::string config;     // of a daemon that has a state directory of its own; audit_dir comes before it
  std::string server;     // "" = all
  bool json = false;
  std::string format = "table";  // "json" sets `json`
  bool follow = false;           // tail only: go on until interrupted
  unsigned lines = 50;           // tail only
};
int egress_tail(const EgressLogOptions& options);
// Prints `box.network` as the server's policy would need it, ready to paste.
int egress_suggest(const EgressLogOptions& options);

}  // namespace mcpbox::app
