// What one JSON-RPC line is, without building a document: id, method and kind.
#pragma once

#include <string_view>

namespace mcpbox::json {

// No peer sends as many messages in one line; more are no message.
inline constexpr unsigned kMaxBatch = 1000;

enum class MessageKind {
  kInvalid,       // no JSON object, no JSON-RPC message, or invalid UTF-8
  kRequest,       // method and id
  kNotification,  // method, no id
  kResponse,      // id and result
  kError,         // id (or null) and error
  kBatch,         // a JSON array of objects (2025-03-26 only), at most kMaxBatch
};

// Views point into the line that was peeked at. An invalid message has its id when the line is a JSON object that has
// one (and no duplicate of it), so that who waits for that id can be told.
struct Message {
  MessageKind kind = MessageKind::kInvalid;
  std::string_view id;      // raw JSON of the id: `7`, `"a"`, `null`; empty when absent
  std::string_view method;  // raw text between the quotes, escapes unresolved; empty when absent
  std::string_view body;    // raw JSON of params, result or error, by the kind; empty when absent
  std::string_view error;   // why it is invalid, for the server's log; a static text
  bool bad_utf8 = false;    // kInvalid because of its bytes: repair_utf8() may make a message of it
};

// Strict (json/scanner.h): what is a message here is one for every client. Depth is limited to 64; a duplicate of
// jsonrpc, id, method, result, error or params, also in another spelling (`"\u0069d"`), makes the message invalid
// (parsers disagree on which of the two counts), and keys are case-sensitive. Beside a result, `"error": null` counts
// as absent (JSON-RPC 1.0 habit).
class Peeker {
 public:
  // `line` without its newline, at most 64 MiB.
  Message peek(std::string_view line) const;
};

// message.method == name, with escapes resolved: PHP writes `tools\/call`.
bool is_method(const Message& message, std::string_view name);

}  // namespace mcpbox::json
