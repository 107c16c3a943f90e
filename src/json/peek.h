// What one JSON-RPC line is, without building a document: id, method and kind, with simdjson.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mcpbox::json {

enum class MessageKind {
  kInvalid,       // no JSON object, no JSON-RPC message, or invalid UTF-8
  kRequest,       // method and id
  kNotification,  // method, no id
  kResponse,      // id and result
  kError,         // id (or null) and error
  kBatch,         // a JSON array (2025-03-26 only)
};

// Views point into the line that was peeked at.
struct Message {
  MessageKind kind = MessageKind::kInvalid;
  std::string_view id;      // raw JSON of the id: `7`, `"a"`, `null`; empty when absent
  std::string_view method;  // raw text between the quotes, escapes unresolved; empty when absent
  std::string_view error;   // why it is invalid, for the server's log
};

// Reusable parser with its own padded buffer; one per thread. Depth is limited to 64; a duplicate of jsonrpc, id, method, result or error makes the
// message invalid (security.md §3, Go SDK incident), and keys are case-sensitive.
class Peeker {
 public:
  Peeker();
  ~Peeker();
  Peeker(const Peeker&) = delete;
  Peeker& operator=(const Peeker&) = delete;
  // `line` without its newline, at most 64 MiB.
  Message peek(std::string_view line);

 private:
  struct Impl;
  Impl* impl_;
};

}  // namespace mcpbox::json
