// What `mcpbox run` says to its MCP client when there will be no server: the client shows its own user an error of the
// protocol, and mostly nothing of stderr; the end of our output alone is "connection closed" to it.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace mcpbox::app {

struct Unserved {
  std::string why;         // the sentence that stderr has; secrets are taken out here
  std::string_view phase;  // of the start, by name_of(provision::Phase); empty = before the first
  int exit_code = 0;       // that mcpbox ends with
};

// Answers the first request that comes on `in` (a line of at most 16 MiB) with a JSON-RPC error on `out`, code -32000,
// and `data` with exit code and phase. A client that tries `server/discover` first takes any error for an older server
// and sends `initialize` on the same pipe (2026-07-28, stdio, "Backward Compatibility"): then that is answered too.
// What is no request is answered with nothing, and ends it.
//
// Blocks, `patience` at most in all; not at all where `in` is a terminal, at its end or closed. Errors are nobody's to
// hear.
void answer_unserved_client(int in, int out, const Unserved& unserved,
                            std::chrono::milliseconds patience = std::chrono::seconds(2));

}  // namespace mcpbox::app
