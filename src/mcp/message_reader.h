// Reads a line into the JSON-RPC messages that it holds. It knows no connection, so whoever has threads reads long
// lines there: the time that this takes grows with the line, several times over.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json/peek.h"

namespace mcpbox::mcp {

// U+FEFF, which some programs write first of all.
inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct ReadMessage {
  std::string_view text;  // all of it
  json::Message message;
  std::string_view error_code, error_message;  // raw, of the error object of a kError; empty where it has none
};

// Views point into the line that was read, which outlives this, or into `repaired`.
struct ReadLine {
  std::string_view line;
  std::vector<ReadMessage> messages;            // one, or a batch's elements: at most json::kMaxBatch
  std::unique_ptr<const std::string> repaired;  // the line without its invalid UTF-8, where it had some
  bool too_long = false;                        // that would have more than `max_repaired`: there are no messages
};

class MessageReader {
 public:
  // `first`: the line is the first of its stream, and a byte order mark before it is no part of it.
  MessageReader(std::size_t max_repaired, bool first) : max_repaired_(max_repaired), first_(first) {}
  ReadLine read(std::string_view line) const;

 private:
  std::size_t max_repaired_;
  bool first_;
};

}  // namespace mcpbox::mcp
