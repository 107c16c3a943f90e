// The daemon's control API: JSON over HTTP on its unix socket, for the CLI's verbs and for programs.
//
//   GET  /v1/status                     engine, image, uptime, version
//   GET  /v1/servers                    every server, as in view_to_json
//   GET  /v1/servers/NAME/tools         its tools, objects as the server sent them
//   POST /v1/servers/NAME/call          {"tool": NAME, "arguments": {…}} → {"result": …} or {"rpc_error": …}
//   GET  /v1/servers/NAME/logs          ?after=SEQ&follow=1: a JSON object per line
//   POST /v1/servers/NAME/restart       ?fresh=1
//   POST /v1/servers/NAME/stop
//   POST /v1/servers/NAME/pull          {"to", "dry_run", "force", "delete"}: what the server changed in its copy, back
//   to the host POST /v1/shutdown                   stops everything, removes the sandboxes, ends the daemon GET
//   /v1/wait                       ?timeout=SECONDS: answers like /v1/servers once every server settled
//
// An error is {"error": {"code": "not_found", "message": "…"}} with the HTTP status that fits. Users read
// docs/control-api.md.
#pragma once

#include <functional>
#include <string>

#include "hosting/host.h"
#include "net/http_server.h"

namespace mcpbox::gateway {

// What clients are told of the engine.
struct EngineView {
  std::string kind, version, api_version, address;
};

struct ControlContext {
  hosting::Host& host;
  EngineView engine;
  std::string image_reference;
  std::string config_file;
  std::function<void()> request_shutdown;  // returns at once; the daemon ends after the reply was sent
  std::chrono::steady_clock::time_point started;
};

// The handler refers to `context`, which must outlive the server.
net::HttpHandler control_handler(ControlContext& context);

// {"name", "state", "phase", "error", "sandbox", "process", "pid", "uid", "restarts", "tools", "server": {name,
// version}, "environment", "packages", "protocol_version", "uptime_ms", "phases": [{"phase", "ms"}]}
std::string view_to_json(const hosting::ServerView& view);

}  // namespace mcpbox::gateway
