// What mcpbox's verbs end with; documented in `mcpbox --help` and docs/cli.md.
#pragma once

#include "base/result.h"

namespace mcpbox::app {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,        // the operation failed, or its output could not be written; stderr says how
  kUsage = 2,         // the command line or the configuration is wrong
  kNoDaemon = 3,      // no daemon answers on the control socket
  kNoEngine = 4,      // no container engine answers, and no native sandbox can be made
  kNotConnected = 5,  // the server that was asked for is not connected
  kToolError = 6,     // the tool was called and reported an error
};

// `mcpbox run` ends with the server's own exit code, 128 + N when signal N ended it, and with these where there is
// none:
inline constexpr int kRunCannotStart = 125;  // mcpbox or the sandbox failed (as `docker run` has it), stdout included
inline constexpr int kRunNotFound = 127;     // the command is not in the sandbox

// Of an engine that was looked for: set_up_engine()'s errors, box::locate_engine()'s.
constexpr int exit_code_of_engine(const Error& error) {
  switch (error.code()) {
    case Code::kInvalidArgument:
      return kUsage;
    case Code::kUnavailable:
      return kNoEngine;
    default:
      return kFailed;
  }
}

// Of a verb that asks about a server.
constexpr int exit_code_of(const Error& error) {
  switch (error.code()) {
    case Code::kInvalidArgument:
      return kUsage;
    case Code::kFailedPrecondition:
      return kNotConnected;
    default:
      return kFailed;
  }
}

}  // namespace mcpbox::app
