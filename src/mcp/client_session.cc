#include "mcp/client_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"
#include "mcp/jsonrpc.h"

namespace mcpbox::mcp {
namespace {

// Between two take_…() calls; a server that floods loses lines, not our memory.
constexpr std::size_t kMaxLog = 1000;
constexpr std::size_t kMaxLogLine = 8u << 10;
constexpr std::size_t kMaxReplies = 1024;
constexpr std::size_t kMaxAbandoned = 1024;

std::string_view excerpt(std::string_view line) {
  return line.substr(0, kMaxLogLine);
}

// Code and message of an error object, whatever the server made of them (0, a float, a missing or non-text message).
CallReply error_reply(std::string_view error) {
  CallReply reply;
  reply.error = std::string(error);
  reply.error_code = kInternalError;
  if (const auto code = json::raw_member(error, "code")) {
    int value = 0;
    const auto [end, problem] = std::from_chars(code->data(), code->data() + code->size(), value);
    if (problem == std::errc{} && end == code->data() + code->size()) reply.error_code = value;
  }
  if (const auto message = json::raw_member(error, "message")) {
    reply.error_message = json::string_of(*message).value_or(std::string(*message));
  }
  return reply;
}

}  // namespace

ClientSession::ClientSession(SessionOptions options) : options_(std::move(options)) {}

void ClientSession::start(Clock::time_point now) {
  if (state_ != SessionState::kNew) return;
  state_ = SessionState::kInitializing;
  const std::string params = fmt::format(
      R"({{"protocolVersion":{},"capabilities":{{}},"clientInfo":{{"name":{},"version":{}}}}})",
      json::quote(options_.protocol_version), json::quote(options_.client_name), json::quote(options_.client_version));
  send_request(Kind::kInitialize, "initialize", params, now + options_.initialize_timeout, options_.initialize_timeout);
}

// ---- what comes in

void ClientSession::on_line(std::string_view line, Clock::time_point now) {
  if (first_line_ && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  first_line_ = false;
  json::Message message = peeker_.peek(line);
  if (message.bad_utf8) {
    const std::string repaired = json::repair_utf8(line);
    message = peeker_.peek(repaired);
    note("the next message held invalid UTF-8, which was replaced");
    on_message(repaired, message, now, false);
    return;
  }
  on_message(line, message, now, false);
}

void ClientSession::on_message(std::string_view line, const json::Message& message, Clock::time_point now,
                               bool in_batch) {
  if (state_ == SessionState::kClosed || state_ == SessionState::kFailed) return;
  switch (message.kind) {
    case json::MessageKind::kInvalid:
      ++counters_.invalid_lines;
      note(std::string(excerpt(line)));
      if (!message.id.empty()) {
        on_broken_answer(message.id, fmt::format("its answer is no valid JSON-RPC message: {}", message.error), now);
      }
      return;
    case json::MessageKind::kBatch:
      if (in_batch) return;
      if (const auto elements = json::raw_elements(line)) {
        for (const std::string_view element : *elements) on_message(element, peeker_.peek(element), now, true);
      }
      return;
    case json::MessageKind::kRequest:
      ++counters_.messages_in;
      return on_request(message);
    case json::MessageKind::kNotification:
      ++counters_.messages_in;
      return on_notification(message, now);
    case json::MessageKind::kResponse:
    case json::MessageKind::kError:
      ++counters_.messages_in;
      return on_answer(line, message, now);
  }
}

// We declare no roots, sampling or elicitation. An unanswered request keeps some servers waiting for a minute, so each
// gets its answer at once, also before initialize is through.
void ClientSession::on_request(const json::Message& message) {
  ++counters_.server_requests;
  if (json::is_method(message, "ping")) return reply(result_line(message.id, "{}"));
  reply(
      error_line(message.id, kMethodNotFound,
                 fmt::format("mcpbox does not offer '{}' to servers", printable(json::unescape(message.method), 100))));
}

void ClientSession::on_notification(const json::Message& message, Clock::time_point now) {
  if (!json::is_method(message, "notifications/tools/list_changed")) return;
  if (listing_) {
    refresh_again_ = true;
  } else if (state_ == SessionState::kReady && !refresh_at_) {
    refresh_at_ = now + options_.refresh_delay;
  }
}

// Our id in decimal, also as text ("7") or as an integral float (7.0): servers answer with either.
std::optional<CallId> ClientSession::own_id(std::string_view raw_id) {
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

void ClientSession::on_answer(std::string_view line, const json::Message& message, Clock::time_point now) {
  if (message.id.empty() || message.id == "null") {
    // "I could not read your request": it can only be told whose when one alone is waiting.
    note(std::string(excerpt(line)));
    if (pending_.size() != 1) return;
    settle(pending_.begin()->first, error_reply(json::raw_member(line, "error").value_or("{}")), now);
    return;
  }
  const auto id = own_id(message.id);
  if (!id || !pending_.contains(*id)) {
    if (id && abandoned_.erase(*id) > 0) {
      ++counters_.late_responses;
    } else {
      ++counters_.unknown_responses;
      note(fmt::format("an answer to id {}, which nobody waits for", printable(message.id, 80)));
    }
    return;
  }
  if (message.kind == json::MessageKind::kError) {
    settle(*id, error_reply(json::raw_member(line, "error").value_or("{}")), now);
    return;
  }
  CallReply reply;
  reply.result = std::string(json::raw_member(line, "result").value_or("{}"));
  settle(*id, std::move(reply), now);
}

void ClientSession::on_broken_answer(std::string_view raw_id, const std::string& why, Clock::time_point now) {
  const auto id = own_id(raw_id);
  const auto found = id ? pending_.find(*id) : pending_.end();
  if (found == pending_.end()) return;
  settle(*id,
         fail(Code::kDataLoss,
              fmt::format("{}: the server sent something that cannot be used: {}", found->second.method, why)),
         now);
}

void ClientSession::on_too_long(std::string_view head, std::string_view tail, std::size_t length,
                                Clock::time_point now) {
  if (state_ == SessionState::kClosed || state_ == SessionState::kFailed) return;
  ++counters_.invalid_lines;
  note(fmt::format("dropped a line of {}, which begins: {}", human_bytes(length), printable(head, 200)));
  const Excerpt ends = read_excerpt(head, tail);
  if (ends.has_method) return;
  const std::string why = fmt::format("its answer has {}, more than one line may have", human_bytes(length));
  if (!ends.id.empty()) {
    on_broken_answer(ends.id, why, now);
  } else if (pending_.size() == 1 && head.starts_with('{')) {
    on_broken_answer(std::to_string(pending_.begin()->first), why, now);
  }
}

void ClientSession::settle(CallId id, Result<CallReply> reply, Clock::time_point now) {
  const auto found = pending_.find(id);
  const Kind kind = found->second.kind;
  pending_.erase(found);
  switch (kind) {
    case Kind::kInitialize:
      return on_initialized(std::move(reply), now);
    case Kind::kList:
      return on_page(std::move(reply), now);
    case Kind::kCall:
      return complete(id, std::move(reply));
  }
}

// ---- time and end

void ClientSession::on_time(Clock::time_point now) {
  std::vector<CallId> due;
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline && *pending.deadline <= now) due.push_back(id);
  }
  for (const CallId id : due) {
    const auto found = pending_.find(id);
    if (found == pending_.end()) continue;
    const Pending pending = found->second;
    Error error(Code::kTimeout, fmt::format("{}: no answer within {}", pending.method,
                                            human_milliseconds(static_cast<double>(pending.timeout.count()))));
    if (pending.kind != Kind::kInitialize)
      abandon(id, "timed out");  // initialize must not be cancelled (lifecycle, 2025-11-25)
    settle(id, fail(std::move(error)), now);
  }
  if (refresh_at_ && *refresh_at_ <= now) refresh_tools(now);
}

std::optional<Clock::time_point> ClientSession::next_deadline() const {
  std::optional<Clock::time_point> next = refresh_at_;
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline && (!next || *pending.deadline < *next)) next = pending.deadline;
  }
  return next;
}

void ClientSession::on_closed(const Error& reason) {
  if (state_ == SessionState::kClosed) return;
  closed_ = reason;
  if (state_ == SessionState::kNew || state_ == SessionState::kInitializing) {
    fail_session(reason.with_context("the server ended before it answered initialize"));
  } else if (state_ == SessionState::kListing) {
    fail_session(reason.with_context("the server ended before it listed its tools"));
  } else if (state_ == SessionState::kReady) {
    state_ = SessionState::kClosed;
  }
  listing_.reset();
  refresh_at_.reset();
  for (const auto& [id, pending] : std::exchange(pending_, {})) {
    if (pending.kind == Kind::kCall) complete(id, fail(reason));
  }
}

// ---- what goes out

CallId ClientSession::send_request(Kind kind, std::string_view method, std::string_view params,
                                   std::optional<Clock::time_point> deadline, std::chrono::milliseconds timeout) {
  const CallId id = next_id_++;
  pending_.emplace(id, Pending{kind, std::string(method), deadline, timeout});
  send(request_line(id, method, params));
  return id;
}

CallId ClientSession::request(std::string_view method, std::string_view params, std::chrono::milliseconds timeout,
                              Clock::time_point now) {
  std::optional<Error> refused;
  if (state_ == SessionState::kNew || state_ == SessionState::kInitializing) {
    refused = Error(Code::kFailedPrecondition, fmt::format("{}: the session is not initialized yet", method));
  } else if (state_ == SessionState::kFailed || state_ == SessionState::kClosed) {
    refused = closed_ ? *closed_ : failure_.value_or(Error(Code::kUnavailable, "the session has ended"));
  } else if (pending_.size() >= options_.max_in_flight) {
    refused =
        Error(Code::kResourceExhausted, fmt::format("{}: {} requests are already waiting for this server; try again "
                                                    "when some are answered",
                                                    method, pending_.size()));
  } else if (!params.empty() && !json::valid_object(params)) {
    refused = Error(Code::kInvalidArgument, fmt::format("{}: the parameters are no JSON object", method));
  }
  if (refused) {
    const CallId id = next_id_++;
    complete(id, fail(*std::move(refused)));
    return id;
  }
  const auto deadline = timeout.count() > 0 ? std::optional(now + timeout) : std::nullopt;
  return send_request(Kind::kCall, method, json::on_one_line(params), deadline, timeout);
}

void ClientSession::cancel(CallId id, std::string_view reason) {
  const auto found = pending_.find(id);
  if (found == pending_.end() || found->second.kind != Kind::kCall) return;
  const std::string method = found->second.method;
  abandon(id, reason);
  pending_.erase(found);
  complete(id, fail(Code::kCancelled, fmt::format("{}: cancelled: {}", method, reason)));
}

void ClientSession::abandon(CallId id, std::string_view reason) {
  abandoned_.insert(id);
  if (abandoned_.size() > kMaxAbandoned) abandoned_.erase(abandoned_.begin());
  send(notification_line("notifications/cancelled",
                         fmt::format(R"({{"requestId":{},"reason":{}}})", id, json::quote(reason))));
}

void ClientSession::send(std::string line) {
  ++counters_.messages_out;
  output_.push_back(std::move(line));
}

// Answers to the server's own requests: it decides how many, so they are bounded.
void ClientSession::reply(std::string line) {
  if (output_.size() >= kMaxReplies) {
    ++counters_.dropped_replies;
    return;
  }
  send(std::move(line));
}

void ClientSession::note(std::string text) {
  if (log_.size() >= kMaxLog) {
    ++log_dropped_;
    return;
  }
  log_.push_back(std::move(text));
}

void ClientSession::complete(CallId id, Result<CallReply> reply) {
  completions_.push_back({id, std::move(reply)});
}

void ClientSession::fail_session(Error error) {
  state_ = SessionState::kFailed;
  listing_.reset();
  refresh_at_.reset();
  for (const auto& [id, pending] : std::exchange(pending_, {})) {
    if (pending.kind == Kind::kCall) complete(id, fail(error));
  }
  failure_ = std::move(error);
}

std::vector<std::string> ClientSession::take_output() {
  return std::exchange(output_, {});
}
std::vector<Completion> ClientSession::take_completions() {
  return std::exchange(completions_, {});
}

std::vector<std::string> ClientSession::take_log() {
  if (log_dropped_ > 0) log_.push_back(fmt::format("{} more lines were dropped", std::exchange(log_dropped_, 0)));
  return std::exchange(log_, {});
}

}  // namespace mcpbox::mcp
