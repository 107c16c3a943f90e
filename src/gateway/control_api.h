// The daemon's control API: JSON over HTTP on its unix socket, for the CLI's verbs and for programs.
//
// The table of its routes is in control_api.cc; users read docs/control-api.md. A method that a path has not is 405
// with Allow; a query parameter or a member of a body that the route does not have, or that has the wrong kind, is 400:
// who misspells `dry_run` must not get a run that is not dry. An error is {"error": {"code": "not_found", "message":
// "…"}} with the status that fits.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "hosting/host.h"
#include "net/http_exchange.h"

namespace mcpbox::gateway {

// What there is to say of the engine that runs the sandboxes.
struct EngineView {
  std::string kind;  // as `mcpbox ps` shows it
  std::string version;
  std::string api_version;
  std::string address;
};

// How long a change of a server is waited for before 202 answers; other than these in tests only.
struct ControlPatience {
  std::chrono::milliseconds stop{30'000};
  std::chrono::milliseconds beyond_startup{30'000};  // a restart: the server's startup_timeout and this
};

struct ControlContext {
  hosting::Host* host = nullptr;  // null while the daemon prepares its image
  EngineView engine;
  std::string image_reference;
  std::string config_file;
  std::function<void()> request_shutdown;  // returns at once; the daemon ends after the reply was sent
  std::chrono::steady_clock::time_point started;
  std::vector<hosting::ServerView> expected;  // what there is to see of the servers without a host
  ControlPatience patience;
  unsigned waiting = 0;   // requests that wait for a server
  unsigned settling = 0;  // and those that wait until it has been stopped or started again
};

// The handler refers to `context`, which must outlive the server. Without a host the daemon can be looked at and shut
// down; what needs a server is 503, and who waits for the servers waits for the host too.
net::HttpHandler control_handler(ControlContext& context);

// {"name", "state", "phase", "error", "sandbox", "process", "pid", "uid", "restarts", "tools", "server": {"name",
// "version"}, "environment", "packages", "network", "protocol_version", "uptime_ms", "phases": [{"phase", "ms"}]}, with
// a line end.
std::string view_to_json(const hosting::ServerView& view);

}  // namespace mcpbox::gateway
