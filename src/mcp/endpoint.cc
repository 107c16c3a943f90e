#include "mcp/endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "json/text.h"
#include "json/writer.h"
#include "mcp/jsonrpc.h"
#include "mcp/line_framer.h"

namespace mcpbox::mcp {
namespace {

constexpr std::size_t kMaxNoise = 8u << 10;
constexpr std::size_t kMaxErrorMessage = 4u << 10;
constexpr std::size_t kMaxAbandoned = 1024;

// Code and message of an error object, whatever the peer made of them (0, a float, a missing or non-text message).
CallReply error_reply(const ReadMessage& read) {
  CallReply reply;
  reply.error = std::string(read.message.body);
  reply.error_code = kInternalError;
  const std::string_view code = read.error_code;
  int value = 0;
  const auto [end, problem] = std::from_chars(code.data(), code.data() + code.size(), value);
  if (problem == std::errc{} && end == code.data() + code.size()) reply.error_code = value;
  // Cut before it is unescaped: what is cut off needs no copy. An escape that is cut through stays as it stands.
  const std::string_view message = read.error_message;
  const bool is_text = message.size() >= 2 && message.front() == '"';
  const std::string_view inside = is_text ? message.substr(1, message.size() - 2) : message;
  const std::string_view kept = inside.substr(0, kMaxErrorMessage);
  reply.error_message = is_text ? json::unescape(kept) : std::string(kept);
  return reply;
}

}  // namespace

std::string describe_error(const CallReply& reply) {
  return fmt::format("error {}: {}", reply.error_code.value_or(0),
                     reply.error_message.empty() ? "(without a message)" : from_outside(reply.error_message, 500));
}

// ---- what comes in

void Endpoint::on_message(ReadLine line) {
  first_message_ = false;
  unasked_ = {std::max<std::size_t>(line.messages.size(), 1), line.line.size()};
  if (closed_) return;
  line_ = std::move(line);
  taken_ = 0;
  if (line_.too_long) {
    const std::string_view all = line_.line;
    drop_too_long(all.substr(0, kExcerpt), all.substr(all.size() - std::min(all.size(), kExcerpt)), all.size());
  } else if (line_.repaired) {
    note("the next message held invalid UTF-8, which was replaced");
  }
}

std::optional<Incoming> Endpoint::next() {
  while (ready_.empty() && taken_ < line_.messages.size()) {
    const ReadMessage& read = line_.messages[taken_++];
    const std::size_t waiting = pending_.size();
    take(read);
    if (pending_.size() < waiting) {
      --unasked_.messages;
      unasked_.bytes -= std::min(unasked_.bytes, read.text.size());
    }
  }
  if (ready_.empty()) {
    line_ = {};
    taken_ = 0;
    return std::nullopt;
  }
  Incoming first = std::move(ready_.front());
  ready_.pop_front();
  return first;
}

bool Endpoint::id_is_too_long(const json::Message& message) {
  if (message.id.size() <= limits_.max_id && message.method.size() <= limits_.max_id) return false;
  note(fmt::format("a message whose {} has {} was dropped: at most {} are allowed",
                   message.id.size() > limits_.max_id ? "id" : "method",
                   human_bytes(std::max(message.id.size(), message.method.size())), human_bytes(limits_.max_id)));
  return true;
}

void Endpoint::take(const ReadMessage& read) {
  if (closed_) return;
  const json::Message& message = read.message;
  switch (message.kind) {
    case json::MessageKind::kInvalid:
    case json::MessageKind::kBatch:
      note(read.text);
      if (!message.id.empty() && message.id.size() <= limits_.max_id) {
        on_broken_answer(message.id, fmt::format("its answer is no valid JSON-RPC message: {}", message.error));
      }
      return;
    case json::MessageKind::kRequest:
      if (id_is_too_long(message)) return;
      ready_.push_back(PeerRequest{message.id, json::unescape(message.method), message.body});
      return;
    case json::MessageKind::kNotification:
      if (id_is_too_long(message)) return;
      ready_.push_back(PeerNotification{json::unescape(message.method), message.body});
      return;
    case json::MessageKind::kResponse:
    case json::MessageKind::kError:
      if (id_is_too_long(message)) return;
      return on_answer(read);
  }
}

// Our id in decimal, also as text ("7") or as an integral float (7.0): servers answer with either.
std::optional<CallId> Endpoint::own_id(std::string_view raw_id) const {
  if (raw_id.size() >= 2 && raw_id.front() == '"') raw_id = raw_id.substr(1, raw_id.size() - 2);
  CallId id = 0;
  const char* const last = raw_id.data() + raw_id.size();
  const auto [end, problem] = std::from_chars(raw_id.data(), last, id);
  if (problem != std::errc{}) return std::nullopt;
  const std::string_view rest(end, static_cast<std::size_t>(last - end));
  const bool integral = rest.empty() || (rest.size() > 1 && rest.front() == '.' &&
                                         rest.find_first_not_of('0', 1) == std::string_view::npos);
  return integral ? std::optional(id) : std::nullopt;
}

void Endpoint::on_answer(const ReadMessage& read) {
  const json::Message& message = read.message;
  if (message.id.empty() || message.id == "null") {
    // "I could not read your request": it can only be told whose when one alone is waiting.
    note(read.text);
    if (pending_.size() == 1) settle(pending_.begin()->first, error_reply(read));
    return;
  }
  const auto id = own_id(message.id);
  if (!id || !pending_.contains(*id)) {
    if (id && abandoned_.erase(*id) > 0) return;  // it comes late
    note(fmt::format("an answer to id {}, which nobody waits for", from_outside(message.id, 80)));
    return;
  }
  if (message.kind == json::MessageKind::kError) return settle(*id, error_reply(read));
  CallReply reply;
  reply.result = std::string(message.body);
  settle(*id, std::move(reply));
}

void Endpoint::on_broken_answer(std::string_view raw_id, const std::string& why) {
  const auto id = own_id(raw_id);
  const auto found = id ? pending_.find(*id) : pending_.end();
  if (found == pending_.end()) return;
  settle(*id, fail(Code::kDataLoss,
                   fmt::format("{}: the server sent something that cannot be used: {}", found->second.method, why)));
}

void Endpoint::on_too_long(std::string_view head, std::string_view tail, std::size_t length) {
  first_message_ = false;
  unasked_ = {1, 0};
  if (!closed_) drop_too_long(head, tail, length);
}

void Endpoint::drop_too_long(std::string_view head, std::string_view tail, std::size_t length) {
  const std::size_t waiting = pending_.size();
  note(fmt::format("dropped a line of {}, which begins: {}", human_bytes(length), from_outside(head, 200)));
  const Excerpt ends = read_excerpt(head, tail);
  if (ends.has_method) return;
  const std::string why = fmt::format("its answer has {}, more than one line may have", human_bytes(length));
  if (!ends.id.empty()) {
    on_broken_answer(ends.id, why);
  } else if (pending_.size() == 1 && head.starts_with('{')) {
    on_broken_answer(std::to_string(pending_.begin()->first), why);
  }
  if (pending_.size() < waiting) unasked_ = {};
}

void Endpoint::settle(CallId id, Result<CallReply> outcome) {
  pending_.erase(id);
  ready_.push_back(Reply{id, std::move(outcome)});
}

// ---- time and end

void Endpoint::on_time(Clock::time_point now) {
  std::vector<CallId> due;
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline && *pending.deadline <= now) due.push_back(id);
  }
  for (const CallId id : due) {
    const Pending pending = pending_.at(id);
    if (pending.cancel == Cancel::kAllowed) abandon(id, "timed out");
    settle(id, fail(Code::kTimeout, fmt::format("{}: no answer within {}", pending.method,
                                                human_milliseconds(static_cast<double>(pending.timeout.count())))));
  }
}

std::optional<Clock::time_point> Endpoint::next_deadline() const {
  std::optional<Clock::time_point> next;
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline && (!next || *pending.deadline < *next)) next = pending.deadline;
  }
  return next;
}

void Endpoint::on_closed(const Error& reason) {
  if (closed_) return;
  closed_ = reason;
  taken_ = line_.messages.size();
  for (const auto& [id, pending] : std::exchange(pending_, {})) ready_.push_back(Reply{id, fail(reason)});
}

// ---- what goes out

CallId Endpoint::refuse_request(Error why) {
  ready_.push_back(Reply{next_id_, fail(std::move(why))});
  return next_id_++;
}

CallId Endpoint::request(std::string_view method, std::string_view params, std::chrono::milliseconds timeout,
                         Clock::time_point now, From from, Cancel cancel) {
  if (closed_) return refuse_request(*closed_);
  if (from == From::kCaller && pending_.size() >= limits_.max_in_flight) {
    return refuse_request(Error(Code::kResourceExhausted,
                                fmt::format("{}: {} requests are already waiting for this server; try again when some "
                                            "are answered",
                                            method, pending_.size())));
  }
  if (!output_.empty() && queued_ + params.size() > limits_.max_queued) {
    return refuse_request(Error(Code::kResourceExhausted,
                                fmt::format("{}: the server does not read what it is sent, and {} wait for it; try "
                                            "again later or restart it",
                                            method, human_bytes(queued_))));
  }
  const CallId id = next_id_++;
  const auto deadline = timeout.count() > 0 ? std::optional(now + timeout) : std::nullopt;
  pending_.emplace(id, Pending{std::string(method), deadline, timeout, cancel});
  send(request_text(id, method, params), id);
  return id;
}

void Endpoint::cancel(CallId id, std::string_view reason) {
  const auto found = pending_.find(id);
  if (found == pending_.end() || found->second.cancel == Cancel::kNever) return;
  const std::string method = found->second.method;
  abandon(id, reason);
  settle(id, fail(Code::kCancelled, fmt::format("{}: cancelled: {}", method, reason)));
}

void Endpoint::abandon(CallId id, std::string_view reason) {
  const auto unsent = std::ranges::find(output_, id, &Outgoing::request);
  if (unsent != output_.end()) {
    queued_ -= unsent->text.size();
    output_.erase(unsent);
    return;
  }
  abandoned_.insert(id);
  if (abandoned_.size() > kMaxAbandoned) abandoned_.erase(abandoned_.begin());
  json::Writer params;
  params.object().member("requestId", id).member("reason", reason).end();
  notify("notifications/cancelled", params.take());
}

void Endpoint::notify(std::string_view method, std::string_view params) {
  send(notification_text(method, params));
}

void Endpoint::answer(std::string_view raw_id, std::string_view result) {
  send_answer(result_text(raw_id, result));
}

void Endpoint::refuse(std::string_view raw_id, int code, std::string_view message) {
  send_answer(error_text(raw_id, code, message));
}

// The peer decides how many answers there are. An owner that minds wants_input() never comes near the second bound.
void Endpoint::send_answer(std::string text) {
  if (queued_answers_ >= 2 * limits_.high_water) return;
  queued_answers_ += text.size();
  if (queued_answers_ >= limits_.high_water) reading_ = false;
  send(std::move(text), 0, true);
}

void Endpoint::send(std::string text, CallId request, bool is_answer) {
  queued_ += text.size();
  output_.push_back({std::move(text), request, is_answer});
}

std::optional<std::string> Endpoint::take_output() {
  if (output_.empty()) return std::nullopt;
  Outgoing first = std::move(output_.front());
  output_.pop_front();
  queued_ -= first.text.size();
  if (first.is_answer) queued_answers_ -= first.text.size();
  if (queued_answers_ < limits_.high_water / 2) reading_ = true;
  return std::move(first.text);
}

void Endpoint::note(std::string_view text) {
  ready_.push_back(Noise{std::string(text.substr(0, kMaxNoise))});
}

}  // namespace mcpbox::mcp
