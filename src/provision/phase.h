// The phases of a start, with the names that users and LangBot see.
#pragma once

#include <string_view>

namespace mcpbox::provision {

// Where an attempt to start a server is, or was when it failed.
enum class Phase {
  kNone,
  kSessionCreate,  // the sandbox
  kStage,          // copying the host folder in; LangBot counts it to session_create
  kDepInstall,     // pip, uv, npm
  kProcessStart,   // fork and exec
  kMcpInit,        // initialize and the first tools/list
  kRuntime,        // it was connected, and then it ended
};

constexpr std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::kNone:
      return "";
    case Phase::kSessionCreate:
      return "session_create";
    case Phase::kStage:
      return "stage";
    case Phase::kDepInstall:
      return "dep_install";
    case Phase::kProcessStart:
      return "process_start";
    case Phase::kMcpInit:
      return "mcp_init";
    case Phase::kRuntime:
      return "runtime";
  }
  return "";
}

}  // namespace mcpbox::provision
