// JSON-RPC 2.0 messages as we write them, and what can be saved of one that was too long to read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mcpbox::mcp {

inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInternalError = -32603;
inline constexpr int kServerGone = -32000;  // what the SDKs use for "connection closed"

// One JSON object on one line, without an end of line. `params`, `result` and `raw_id` are raw JSON on one line; empty
// params are left out.
std::string request_text(std::uint64_t id, std::string_view method, std::string_view params);
std::string notification_text(std::string_view method, std::string_view params);
std::string result_text(std::string_view raw_id, std::string_view result);
std::string error_text(std::string_view raw_id, int code, std::string_view message);

// Two spellings of one id compare equal: "\u0061" and "a". Numbers keep their text.
std::string canonical_id(std::string_view raw_id);

// What the two ends of an over-long line tell. Members stand in any order: the Python SDK writes the id first, the
// TypeScript SDK last.
struct Excerpt {
  std::string id;           // raw; empty when it is in neither end
  bool has_method = false;  // a request or notification: nobody waits for it as an answer
};
Excerpt read_excerpt(std::string_view head, std::string_view tail);

}  // namespace mcpbox::mcp
