#include "mcp/client_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "mcp/jsonrpc.h"

namespace mcpbox::mcp {
namespace {

// Between two take_log() calls; a server that floods loses lines, not our memory.
constexpr std::size_t kMaxLog = 1000;

}  // namespace

ClientSession::ClientSession(SessionOptions options) : options_(std::move(options)), endpoint_(options_.limits) {
  for (const CatalogKind* kind : options_.catalogs) lists_.push_back({Catalog(*kind, options_.lists)});
}

void ClientSession::start(Clock::time_point now) {
  if (state_ != SessionState::kNew) return;
  state_ = SessionState::kInitializing;
  initialize_ = endpoint_.request(
      "initialize", initialize_params(options_.protocol_version, options_.client_name, options_.client_version),
      options_.initialize_timeout, now, Endpoint::From::kOwner, Endpoint::Cancel::kNever);
}

// ---- what comes in

Unasked ClientSession::on_message(ReadLine line, Clock::time_point now) {
  if (over()) return {std::max<std::size_t>(line.messages.size(), 1), line.line.size()};
  endpoint_.on_message(std::move(line));
  drain(now);
  return endpoint_.unasked();
}

Unasked ClientSession::on_too_long(std::string_view head, std::string_view tail, std::size_t length,
                                   Clock::time_point now) {
  if (over()) return {1, 0};
  endpoint_.on_too_long(head, tail, length);
  drain(now);
  return endpoint_.unasked();
}

std::optional<ClientSession::LongPage> ClientSession::take_long_page() {
  if (long_pages_.empty()) return std::nullopt;
  LongPage page = std::move(long_pages_.back());
  long_pages_.pop_back();
  return page;
}

void ClientSession::on_page_read(const CatalogKind& kind, CatalogPage page, Clock::time_point now) {
  if (over()) return;
  const auto list = std::ranges::find_if(lists_, [&](const List& one) { return &one.catalog.kind() == &kind; });
  if (list != lists_.end()) list->catalog.on_page(std::move(page), now);
  drain(now);
}

void ClientSession::drain(Clock::time_point now) {
  do {
    take_incoming(now);
  } while (advance_lists(now));
}

void ClientSession::take_incoming(Clock::time_point now) {
  while (auto incoming = endpoint_.next()) {
    if (auto* reply = std::get_if<Reply>(&*incoming)) {
      on_reply(std::move(*reply), now);
    } else if (const auto* request = std::get_if<PeerRequest>(&*incoming)) {
      on_peer_request(*request);
    } else if (const auto* notification = std::get_if<PeerNotification>(&*incoming)) {
      for (List& list : lists_) {
        if (notification->method == list.catalog.kind().changed) list.catalog.on_changed(now);
      }
    } else if (auto* noise = std::get_if<Noise>(&*incoming)) {
      note(std::move(noise->text));
    }
  }
}

// We declare no roots, sampling or elicitation. An unanswered request keeps some servers waiting for a minute, so each
// gets its answer at once, also before initialize is through.
void ClientSession::on_peer_request(const PeerRequest& request) {
  if (request.method == "ping") return endpoint_.answer(request.id, "{}");
  endpoint_.refuse(request.id, kMethodNotFound,
                   fmt::format("mcpbox does not offer '{}' to servers", printable(request.method, 100)));
}

void ClientSession::on_reply(Reply reply, Clock::time_point now) {
  if (reply.id == initialize_) {
    initialize_ = 0;
    if (state_ == SessionState::kInitializing) on_initialized(std::move(reply.outcome), now);
  } else if (List* list = waiting_for(reply.id)) {
    list->page = 0;
    if (reply.outcome && !reply.outcome->error_code && reply.outcome->result.size() >= options_.long_page) {
      long_pages_.push_back({&list->catalog.kind(), list->catalog.limits(), std::move(reply.outcome->result)});
    } else {
      list->catalog.on_page(reply.outcome, now);
    }
  } else {
    completions_.push_back(std::move(reply));
  }
}

void ClientSession::on_initialized(Result<CallReply> answer, Clock::time_point now) {
  auto server = read_initialize(std::move(answer), options_.protocol_version);
  if (!server) return fail_session(std::move(server).error());
  server_ = std::move(*server);
  endpoint_.notify("notifications/initialized", {});
  state_ = SessionState::kListing;
  for (List& list : lists_) list.catalog.refresh(now);
}

ClientSession::List* ClientSession::waiting_for(CallId page) {
  const auto found = std::ranges::find_if(lists_, [&](const List& list) { return page != 0 && list.page == page; });
  return found != lists_.end() ? &*found : nullptr;
}

const Catalog* ClientSession::catalog(const CatalogKind& kind) const {
  const auto found = std::ranges::find_if(lists_, [&](const List& list) { return &list.catalog.kind() == &kind; });
  return found != lists_.end() ? &found->catalog : nullptr;
}

std::uint64_t ClientSession::lists_version() const {
  std::uint64_t sum = 0;
  for (const List& list : lists_) sum += list.catalog.version();
  return sum;
}

bool ClientSession::advance_lists(Clock::time_point now) {
  bool asked = false;
  for (List& list : lists_) {
    asked = advance(list, now) || asked;
    if (state_ == SessionState::kFailed) return false;
  }
  if (state_ == SessionState::kListing && tools_known()) state_ = SessionState::kReady;
  return asked;
}

bool ClientSession::advance(List& list, Clock::time_point now) {
  Catalog& catalog = list.catalog;
  for (const std::string& text : catalog.take_notes()) note(text);
  if (auto error = catalog.take_failure()) {
    if (&list == &lists_.front() && declares(server_.capabilities, catalog.kind().capability)) {
      if (error->code() == Code::kTimeout) {
        error = Error(Code::kTimeout,
                      fmt::format("{}; the server answered initialize but does not list its {}s: see its log",
                                  error->message(), catalog.kind().one));
      }
      fail_session(*std::move(error));
      return false;
    }
    // A server that declares no such list need not understand the question.
    if (declares(server_.capabilities, catalog.kind().capability)) note(error->message());
    catalog.give_up();
  }
  const auto params = catalog.next_page();
  if (!params) return false;
  list.page = endpoint_.request(catalog.kind().method, *params, catalog.page_timeout(now), now, Endpoint::From::kOwner);
  return true;
}

// ---- time and end

void ClientSession::on_time(Clock::time_point now) {
  endpoint_.on_time(now);
  for (List& list : lists_) list.catalog.on_time(now);
  drain(now);
}

std::optional<Clock::time_point> ClientSession::next_deadline() const {
  auto next = endpoint_.next_deadline();
  for (const List& list : lists_) {
    if (const auto due = list.catalog.next_deadline(); due && (!next || *due < *next)) next = due;
  }
  return next;
}

void ClientSession::on_closed(const Error& reason) {
  if (state_ == SessionState::kClosed) return;
  if (state_ == SessionState::kNew || state_ == SessionState::kInitializing) {
    fail_session(reason.with_context("the server ended before it answered initialize"), reason);
  } else if (state_ == SessionState::kListing) {
    fail_session(reason.with_context("the server ended before it listed its tools"), reason);
  } else if (state_ == SessionState::kReady) {
    state_ = SessionState::kClosed;
    end(reason);
  } else {
    end(reason);
  }
}

void ClientSession::fail_session(Error error) {
  const Error reason = error;
  fail_session(std::move(error), reason);
}

void ClientSession::fail_session(Error error, const Error& reason) {
  state_ = SessionState::kFailed;
  failure_ = std::move(error);
  end(reason);
}

// Calls of others complete with the reason; the handshake's and the list's own requests are nobody else's business.
void ClientSession::end(const Error& reason) {
  for (List& list : lists_) list.catalog.stop();
  long_pages_.clear();
  endpoint_.on_closed(reason);
  while (auto incoming = endpoint_.next()) {
    auto* reply = std::get_if<Reply>(&*incoming);
    if (reply != nullptr && !is_own(reply->id)) completions_.push_back(std::move(*reply));
  }
}

// ---- what goes out

CallId ClientSession::request(std::string_view method, const json::RawObject& params, std::chrono::milliseconds timeout,
                              Clock::time_point now) {
  std::optional<Error> refused;
  if (state_ == SessionState::kNew || state_ == SessionState::kInitializing) {
    refused = Error(Code::kFailedPrecondition, fmt::format("{}: the session is not initialized yet", method));
  }
  const CallId id =
      refused ? endpoint_.refuse_request(*std::move(refused)) : endpoint_.request(method, params.text(), timeout, now);
  drain(now);
  return id;
}

void ClientSession::cancel(CallId id, std::string_view reason, Clock::time_point now) {
  if (is_own(id)) return;
  endpoint_.cancel(id, reason);
  drain(now);
}

void ClientSession::note(std::string text) {
  if (log_.size() >= kMaxLog) {
    ++log_dropped_;
    return;
  }
  log_.push_back(std::move(text));
}

std::vector<Completion> ClientSession::take_completions() {
  return std::exchange(completions_, {});
}

std::vector<std::string> ClientSession::take_log() {
  if (log_dropped_ > 0) log_.push_back(fmt::format("{} more lines were dropped", std::exchange(log_dropped_, 0)));
  return std::exchange(log_, {});
}

}  // namespace mcpbox::mcp
