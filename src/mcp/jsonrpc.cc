#include "mcp/jsonrpc.h"

#include "json/scanner.h"
#include "json/text.h"
#include "json/writer.h"

namespace mcpbox::mcp {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

void trim_right(std::string_view& text) {
  const std::size_t last = text.find_last_not_of(kSpace);
  text = last == std::string_view::npos ? std::string_view{} : text.substr(0, last + 1);
}

bool chop(std::string_view& text, std::string_view suffix) {
  trim_right(text);
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// The members that are complete in `head`.
Excerpt read_head(std::string_view head) {
  Excerpt found;
  json::Scanner scan(head);
  scan.skip_space();
  if (!scan.eat('{')) return found;
  do {
    std::string_view key;
    bool escaped = false;
    scan.skip_space();
    if (!scan.skip_string(key, escaped)) break;
    scan.skip_space();
    if (!scan.eat(':')) break;
    scan.skip_space();
    if (key == "method") found.has_method = true;
    const std::size_t start = scan.offset();
    if (!scan.skip_value()) break;
    const std::size_t end = scan.offset();
    scan.skip_space();
    if (scan.at_end()) break;  // the value may go on: `"id":12` of `"id":123`
    if (key == "id") found.id = head.substr(start, end - start);
  } while (scan.eat(','));
  return found;
}

// `…,"id":7}` at the very end: the last brace closes the message, so this is the message's own id.
std::string read_tail(std::string_view tail) {
  if (!chop(tail, "}")) return {};
  trim_right(tail);
  std::string_view id;
  if (tail.ends_with('"')) {
    const std::size_t open = tail.size() < 2 ? std::string_view::npos : tail.rfind('"', tail.size() - 2);
    if (open == std::string_view::npos) return {};
    id = tail.substr(open);
    if (id.find('\\') != std::string_view::npos || (open > 0 && tail[open - 1] == '\\')) return {};
    tail = tail.substr(0, open);
  } else {
    const std::size_t before = tail.find_last_not_of("0123456789+-.eE");
    if (before == std::string_view::npos || before + 1 == tail.size()) return {};
    id = tail.substr(before + 1);
    tail = tail.substr(0, before + 1);
  }
  if (!chop(tail, ":") || !chop(tail, "\"id\"")) return {};
  trim_right(tail);
  json::Scanner scan(id);
  if (!tail.ends_with(',') || !scan.skip_value() || !scan.at_end()) return {};
  return std::string(id);
}

}  // namespace

std::string request_text(std::uint64_t id, std::string_view method, std::string_view params) {
  json::Writer out;
  out.object().member("jsonrpc", "2.0").member("id", id).member("method", method);
  if (!params.empty()) out.member("params", json::Raw{params});
  return out.end().take();
}

std::string notification_text(std::string_view method, std::string_view params) {
  json::Writer out;
  out.object().member("jsonrpc", "2.0").member("method", method);
  if (!params.empty()) out.member("params", json::Raw{params});
  return out.end().take();
}

std::string result_text(std::string_view raw_id, std::string_view result) {
  json::Writer out;
  return out.object()
      .member("jsonrpc", "2.0")
      .member("id", json::Raw{raw_id})
      .member("result", json::Raw{result})
      .end()
      .take();
}

std::string error_text(std::string_view raw_id, int code, std::string_view message) {
  json::Writer out;
  out.object().member("jsonrpc", "2.0").member("id", json::Raw{raw_id});
  return out.object("error").member("code", code).member("message", message).end().end().take();
}

std::string canonical_id(std::string_view raw_id) {
  if (raw_id.find('\\') == std::string_view::npos) return std::string(raw_id);
  return json::quote(json::string_of(raw_id).value_or(std::string(raw_id)));
}

Excerpt read_excerpt(std::string_view head, std::string_view tail) {
  Excerpt found = read_head(head);
  if (found.id.empty() && !found.has_method) found.id = read_tail(tail);
  return found;
}

}  // namespace mcpbox::mcp
