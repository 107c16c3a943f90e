#include "mcp/stdio_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/secrets.h"
#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"
#include "mcp/jsonrpc.h"
#include "mcp/line_framer.h"
#include "mcp/message_reader.h"

namespace mcpbox::mcp {
namespace {

constexpr std::string_view kNewline = "\n";

std::string_view without_cr(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

}  // namespace

void StdioFilter::Partial::add(std::string_view piece, std::size_t max_line) {
  length += piece.size();
  if (!dropping && length <= max_line + 1) {  // the one more may be a "\r"
    text += piece;
    return;
  }
  if (!dropping) {
    dropping = true;
    keep_tail(tail, text);
    text.resize(std::min(text.size(), kExcerpt));
    text.shrink_to_fit();
  }
  if (text.size() < kExcerpt) text += piece.substr(0, kExcerpt - text.size());
  keep_tail(tail, piece);
}

void StdioFilter::reset_output() {
  out_.client.clear();
  out_.noise.clear();
  owned_.clear();
}

const StdioFilter::Pieces& StdioFilter::from_server(std::string_view bytes) {
  reset_output();
  while (!bytes.empty()) {
    const void* const newline = std::memchr(bytes.data(), '\n', bytes.size());
    if (newline == nullptr) {
      server_.add(bytes, options_.max_line);
      break;
    }
    const auto length = static_cast<std::size_t>(static_cast<const char*>(newline) - bytes.data());
    const std::string_view line = bytes.substr(0, length);
    bytes.remove_prefix(length + 1);
    if (server_.empty()) {
      judge(line, true);
    } else {
      server_.add(line, options_.max_line);
      finish_partial();
    }
  }
  return out_;
}

const StdioFilter::Pieces& StdioFilter::server_ended() {
  reset_output();
  if (!server_.empty()) finish_partial();
  return out_;
}

void StdioFilter::finish_partial() {
  Partial done = std::move(server_);
  server_.clear();
  if (done.dropping) {
    if (done.tail.ends_with('\r')) {
      done.tail.pop_back();
      --done.length;
      done.text.resize(std::min(done.text.size(), done.length));
    }
    judge_too_long(done.text, done.tail, done.length);
    return;
  }
  owned_.push_back(std::move(done.text));
  judge(owned_.back(), false);
}

// `whole`: a "\n" follows `line` in the same memory.
void StdioFilter::judge(std::string_view line, bool whole) {
  std::string_view text = without_cr(line);
  if (text.size() != line.size()) whole = false;
  if (text.empty()) return;
  // Before the mark goes, so that it does not matter how the stream was cut.
  if (text.size() > options_.max_line) {
    judge_too_long(text.substr(0, kExcerpt), text.substr(text.size() - std::min(text.size(), kExcerpt)), text.size());
    return;
  }
  if (first_line_) {
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    first_line_ = false;
  }
  json::Message message = peeker_.peek(text);
  if (message.bad_utf8) {
    std::string repaired = json::repair_utf8(text);
    message = peeker_.peek(repaired);
    if (message.kind != json::MessageKind::kInvalid) {
      owned_.push_back(std::move(repaired));
      judge(owned_.back(), false);
      return;
    }
    // The views in `message` die with the repaired copy.
    message.id = {};
  }
  switch (message.kind) {
    case json::MessageKind::kRequest:
    case json::MessageKind::kNotification:
      pass(text, whole);
      return;
    case json::MessageKind::kResponse:
    case json::MessageKind::kError:
      forget(message.id);
      pass(text, whole);
      return;
    case json::MessageKind::kBatch:
      if (settle_batch(text)) {
        pass(text, whole);
      } else {
        make_noise(text);
      }
      return;
    case json::MessageKind::kInvalid:
      break;
  }
  make_noise(text);
  if (!message.id.empty() && forget(message.id)) {
    answer_with_error(message.id, kInternalError,
                      fmt::format("mcpbox: the server's answer is no valid JSON-RPC message: {}", message.error));
  }
}

// True when every element is a message; then the answers among them are settled.
bool StdioFilter::settle_batch(std::string_view line) {
  const auto elements = json::raw_elements(line);
  if (!elements) return false;
  std::vector<std::string_view> answered;
  for (const std::string_view element : *elements) {
    const json::Message message = peeker_.peek(element);
    if (message.kind == json::MessageKind::kInvalid || message.kind == json::MessageKind::kBatch) return false;
    const bool answer = message.kind == json::MessageKind::kResponse || message.kind == json::MessageKind::kError;
    if (answer) answered.push_back(message.id);
  }
  for (const std::string_view id : answered) forget(id);
  return true;
}

void StdioFilter::judge_too_long(std::string_view head, std::string_view tail, std::size_t length) {
  first_line_ = false;
  const std::string note = fmt::format("mcpbox: dropped a line of {} (limit {}), which begins: {}", human_bytes(length),
                                       human_bytes(options_.max_line), from_outside(head, 80));
  owned_.push_back(note);
  out_.noise.push_back(owned_.back());
  out_.noise.push_back(kNewline);
  Excerpt excerpt = read_excerpt(head, tail);
  if (excerpt.has_method) return;
  // Nothing else can have been answered when only one request waits.
  if (excerpt.id.empty() && in_flight_.size() == 1 && head.starts_with('{'))
    excerpt.id = in_flight_.begin()->second.raw_id;
  if (!excerpt.id.empty() && forget(excerpt.id)) {
    answer_with_error(excerpt.id, kInternalError,
                      fmt::format("mcpbox: the server's answer has {}; at most {} are passed on", human_bytes(length),
                                  human_bytes(options_.max_line)));
  }
}

void StdioFilter::pass(std::string_view line, bool whole) {
  if (!whole) {
    out_.client.push_back(line);
    out_.client.push_back(kNewline);
    return;
  }
  const std::string_view with_end(line.data(), line.size() + 1);
  // Messages that lie next to each other go out as one piece.
  if (!out_.client.empty() && out_.client.back().data() + out_.client.back().size() == with_end.data()) {
    std::string_view& last = out_.client.back();
    last = std::string_view(last.data(), last.size() + with_end.size());
    return;
  }
  out_.client.push_back(with_end);
}

void StdioFilter::make_noise(std::string_view line) {
  out_.noise.push_back(line);
  out_.noise.push_back(kNewline);
}

void StdioFilter::answer_with_error(std::string_view raw_id, int code, std::string_view message) {
  owned_.push_back(error_text(raw_id, code, message) + "\n");
  out_.client.push_back(owned_.back());
}

bool StdioFilter::forget(std::string_view raw_id) {
  if (in_flight_.empty()) return false;
  const auto found =
      raw_id.find('\\') == std::string_view::npos ? in_flight_.find(raw_id) : in_flight_.find(canonical_id(raw_id));
  if (found == in_flight_.end()) return false;
  in_flight_.erase(found);
  return true;
}

void StdioFilter::from_client(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view line = bytes.substr(0, newline);
    if (newline == std::string_view::npos) {
      client_.add(line, options_.max_line);
      return;
    }
    bytes.remove_prefix(newline + 1);
    if (client_.empty()) {
      note_client_line(line);
      continue;
    }
    client_.add(line, options_.max_line);
    if (!client_.dropping) note_client_line(client_.text);
    client_.clear();
  }
}

void StdioFilter::note_client_line(std::string_view line) {
  const json::Message message = peeker_.peek(line);
  if (message.kind != json::MessageKind::kBatch) {
    note_client_message(line, message);
    return;
  }
  const auto elements = json::raw_elements(line);
  if (!elements) return;
  for (const std::string_view element : *elements) note_client_message(element, peeker_.peek(element));
}

void StdioFilter::note_client_message(std::string_view text, const json::Message& message) {
  if (message.kind == json::MessageKind::kRequest) {
    if (in_flight_.size() >= options_.max_in_flight) return;
    in_flight_.try_emplace(canonical_id(message.id), Request{std::string(message.id), ++order_});
  } else if (message.kind == json::MessageKind::kNotification && json::is_method(message, "notifications/cancelled")) {
    const auto params = json::raw_member(text, "params");
    const auto id = params ? json::raw_member(*params, "requestId") : std::nullopt;
    if (id) forget(*id);
  }
}

std::string StdioFilter::take_error_replies(std::string_view message) {
  std::vector<const Request*> waiting;
  for (const auto& [id, request] : in_flight_) waiting.push_back(&request);
  std::sort(waiting.begin(), waiting.end(), [](const Request* a, const Request* b) { return a->order < b->order; });
  std::string out;
  for (const Request* request : waiting) out += error_text(request->raw_id, kServerGone, message) + "\n";
  in_flight_.clear();
  return out;
}

}  // namespace mcpbox::mcp
