#include "mcp/message_reader.h"

#include <utility>

#include "json/raw.h"
#include "json/text.h"

namespace mcpbox::mcp {
namespace {

ReadMessage with_error(std::string_view text, const json::Message& message) {
  ReadMessage read{text, message, {}, {}};
  if (message.kind == json::MessageKind::kError) {
    read.error_code = json::raw_member(message.body, "code").value_or("");
    read.error_message = json::raw_member(message.body, "message").value_or("");
  }
  return read;
}

}  // namespace

ReadLine MessageReader::read(std::string_view line) const {
  const json::Peeker peeker;
  ReadLine read;
  read.line = line;
  if (first_ && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  json::Message message = peeker.peek(line);
  if (message.bad_utf8) {
    auto repaired = json::repair_utf8(line, max_repaired_);
    if (!repaired) {
      read.too_long = true;
      return read;
    }
    read.repaired = std::make_unique<const std::string>(*std::move(repaired));
    line = *read.repaired;
    message = peeker.peek(line);
  }
  if (message.kind != json::MessageKind::kBatch) {
    read.messages.push_back(with_error(line, message));
    return read;
  }
  json::ElementWalk walk(line);
  while (const auto element = walk.next()) read.messages.push_back(with_error(*element, peeker.peek(*element)));
  return read;
}

}  // namespace mcpbox::mcp
