#include "json/peek.h"

#include "json/raw.h"
#include "json/scanner.h"
#include "json/text.h"

namespace mcpbox::json {
namespace {

constexpr std::size_t kMaxLine = 64u << 20;

// What the five members of a message are; a view without data is absent.
struct Members {
  std::string_view jsonrpc, id, method, params, result, error;
};

std::string_view* slot(Members& members, std::string_view key) {
  switch (key.size()) {
    case 2:
      return key == "id" ? &members.id : nullptr;
    case 5:
      return key == "error" ? &members.error : nullptr;
    case 6:
      return key == "method"   ? &members.method
             : key == "result" ? &members.result
             : key == "params" ? &members.params
                               : nullptr;
    case 7:
      return key == "jsonrpc" ? &members.jsonrpc : nullptr;
    default:
      return nullptr;
  }
}

// The walk over the top level. Empty when it is a valid object; the reason otherwise.
std::string_view read_members(std::string_view line, Scanner& scan, Members& members) {
  bool duplicate = false;
  scan.eat('{');
  scan.skip_space();
  if (!scan.eat('}')) {
    for (;;) {
      std::string_view key;
      bool escaped = false;
      scan.skip_space();
      if (!scan.skip_string(key, escaped)) return scan.error();
      scan.skip_space();
      if (!scan.eat(':')) return "expected ':'";
      scan.skip_space();
      const std::size_t start = scan.offset();
      if (!scan.skip_value(kMaxDepth - 1)) return scan.error();
      std::string_view* const member = escaped ? slot(members, unescape(key)) : slot(members, key);
      if (member != nullptr) {
        duplicate = duplicate || member->data() != nullptr;
        *member = line.substr(start, scan.offset() - start);
      }
      scan.skip_space();
      if (scan.eat(',')) continue;
      if (scan.eat('}')) break;
      return scan.at_end() ? "ends in the middle" : "expected ',' or '}'";
    }
  }
  scan.skip_space();
  if (!scan.at_end()) return "text after the message";
  if (duplicate) {
    members = {};
    return "a member of the message stands there twice";
  }
  return {};
}

bool is_id(std::string_view raw) {
  return !raw.empty() && (raw.front() == '"' || raw.front() == '-' || (raw.front() >= '0' && raw.front() <= '9'));
}

Message invalid(std::string_view why, std::string_view id = {}) {
  Message message;
  message.error = why;
  message.id = is_id(id) ? id : std::string_view{};
  return message;
}

Message classify(const Members& m) {
  if (m.jsonrpc != "\"2.0\"") return invalid("no \"jsonrpc\": \"2.0\"", m.id);
  Message message;
  message.id = m.id;
  const bool has_result = m.result.data() != nullptr;
  const bool has_error = m.error.data() != nullptr && !(has_result && m.error == "null");
  if (m.method.data() != nullptr) {
    if (m.method.front() != '"') return invalid("the method is no string", m.id);
    if (has_result || has_error) return invalid("both a request and a response", m.id);
    if (m.id.data() != nullptr && !is_id(m.id)) return invalid("a request whose id is neither a string nor a number");
    message.method = m.method.substr(1, m.method.size() - 2);
    message.kind = m.id.data() != nullptr ? MessageKind::kRequest : MessageKind::kNotification;
    message.body = m.params;
    return message;
  }
  if (has_result && has_error) return invalid("both a result and an error", m.id);
  if (has_result) {
    if (!is_id(m.id)) return invalid("a result without an id");
    message.kind = MessageKind::kResponse;
    message.body = m.result;
    return message;
  }
  if (has_error) {
    if (m.id.data() != nullptr && m.id != "null" && !is_id(m.id)) return invalid("an error with a bad id");
    if (m.error.front() != '{') return invalid("the error is no object", m.id);
    message.kind = MessageKind::kError;
    message.body = m.error;
    return message;
  }
  return invalid("neither method, result nor error", m.id);
}

}  // namespace

Message Peeker::peek(std::string_view line) const {
  if (line.size() > kMaxLine) return invalid("longer than 64 MiB");
  Scanner scan(line);
  scan.skip_space();
  const char first = scan.current();
  if (first != '{' && first != '[') return invalid("no JSON object");
  if (!valid_utf8(line)) {
    Message message = invalid("invalid UTF-8");
    message.bad_utf8 = true;
    return message;
  }
  if (first == '[') {
    ElementWalk walk(line);
    unsigned count = 0;
    while (const auto element = walk.next()) {
      if (element->front() != '{') return invalid("no JSON-RPC batch");
      if (++count > kMaxBatch) return invalid("a batch of more than 1000 messages");
    }
    if (!walk.complete() || count == 0) return invalid("no JSON-RPC batch");
    Message message;
    message.kind = MessageKind::kBatch;
    return message;
  }
  Members members;
  const std::string_view why = read_members(line, scan, members);
  if (!why.empty()) return invalid(why);
  return classify(members);
}

bool is_method(const Message& message, std::string_view name) {
  if (message.method == name) return true;
  return message.method.find('\\') != std::string_view::npos && unescape(message.method) == name;
}

}  // namespace mcpbox::json
