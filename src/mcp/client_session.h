// One MCP client session with one server, handshake-era revisions, without I/O: fed with lines and time, it says what
// to send.
//
// The driver (hosting/) passes every stdout line to on_line(), takes lines to write from take_output(), completed calls
// from take_completions(), and calls on_time() when next_deadline() has come. Payloads stay raw JSON text: numbers, key
// order and unknown members survive. Ids that we send are integers from 1.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "json/peek.h"

namespace mcpbox::mcp {

using Clock = std::chrono::steady_clock;
using CallId = std::uint64_t;

struct SessionOptions {
  std::string client_name = "mcpbox";
  std::string client_version;
  std::string protocol_version = "2025-11-25";  // offered; any of 2024-10-07 … 2025-11-25 is accepted in the answer
  std::chrono::milliseconds initialize_timeout{60'000};
  std::chrono::milliseconds list_timeout{30'000};
  unsigned max_pages = 100;
  std::size_t max_tools = 10'000;
  std::size_t max_list_bytes = 64u << 20;  // of all tool objects together
  std::size_t max_in_flight = 256;
  // Servers announce list_changed in storms (seven in a row at start); the list is fetched once, this long after the
  // first.
  std::chrono::milliseconds refresh_delay{250};
};

struct Tool {
  std::string name;
  std::string description;
  std::string json;  // the whole tool object as the server sent it
};

struct ServerInfo {
  std::string protocol_version;
  std::string name;
  std::string version;
  std::string capabilities;  // raw JSON
  std::string instructions;
};

// How a call ended when the server answered.
struct CallReply {
  std::string result;  // raw JSON of `result`; empty when error
  std::optional<int> error_code;
  std::string error_message;
  std::string error;  // raw JSON of `error`
};

struct Completion {
  CallId id = 0;
  // kTimeout, kCancelled, kUnavailable (session ended; the message says how), kDataLoss (an answer that is no valid
  // message, or too long), kInvalidArgument, kResourceExhausted, kFailedPrecondition (refused before anything was sent)
  Result<CallReply> reply;
};

// kListing is the first tools/list only: calls are possible from then on, and a later refresh does not leave kReady.
enum class SessionState { kNew, kInitializing, kReady, kListing, kFailed, kClosed };

class ClientSession {
 public:
  explicit ClientSession(SessionOptions options);

  // Queues `initialize`.
  void start(Clock::time_point now);
  void on_line(std::string_view line, Clock::time_point now);
  // A line that the framer dropped: its two ends and its length. The request that it answered, where its id can be
  // known, fails.
  void on_too_long(std::string_view head, std::string_view tail, std::size_t length, Clock::time_point now);
  void on_time(Clock::time_point now);
  // The server ended or its pipe broke: everything pending completes with `reason`.
  void on_closed(const Error& reason);
  std::optional<Clock::time_point> next_deadline() const;

  // Any request. `params` is raw JSON of an object, or empty. A time-out of 0 means none; a timed-out or cancelled
  // request is followed by notifications/cancelled, and a late answer is dropped and counted. Allowed from kListing on;
  // a refusal comes as a completion too.
  CallId request(std::string_view method, std::string_view params, std::chrono::milliseconds timeout,
                 Clock::time_point now);
  void cancel(CallId id, std::string_view reason);
  // tools/list with all its pages: tools() is replaced when the last page came. Happens by itself after initialize and
  // after notifications/tools/list_changed.
  void refresh_tools(Clock::time_point now);

  SessionState state() const { return state_; }
  const std::optional<Error>& failure() const {
    return failure_;
  }  // set in kFailed: why initialize or the first list failed
  const ServerInfo& server() const { return server_; }
  const std::vector<Tool>& tools() const { return tools_; }
  bool tools_known() const { return tools_known_; }

  std::vector<std::string> take_output();  // complete lines with "\n"
  std::vector<Completion> take_completions();
  std::vector<std::string> take_log();  // what was no JSON-RPC message, protocol violations: for the server's log, raw

  struct Counters {
    std::uint64_t messages_in = 0, messages_out = 0, invalid_lines = 0, unknown_responses = 0, late_responses = 0;
    std::uint64_t server_requests = 0,
                  dropped_replies = 0;  // what the server asked of us; answers that we did not queue
  };
  const Counters& counters() const { return counters_; }

 private:
  enum class Kind { kInitialize, kList, kCall };
  struct Pending {
    Kind kind = Kind::kCall;
    std::string method;
    std::optional<Clock::time_point> deadline;
    std::chrono::milliseconds timeout{0};
  };
  // One run through the pages of tools/list.
  struct Listing {
    std::vector<Tool> tools;
    std::set<std::string> names;
    std::set<std::string> cursors;  // raw, seen so far
    std::size_t bytes = 0;
    unsigned pages = 0;
    Clock::time_point deadline;
    bool full = false;  // a limit was passed; said in the log
  };

  CallId send_request(Kind kind, std::string_view method, std::string_view params,
                      std::optional<Clock::time_point> deadline, std::chrono::milliseconds timeout);
  void send(std::string line);
  void reply(std::string line);
  void note(std::string text);
  void complete(CallId id, Result<CallReply> reply);
  void fail_session(Error error);

  void on_message(std::string_view line, const json::Message& message, Clock::time_point now, bool in_batch);
  void on_request(const json::Message& message);
  void on_notification(const json::Message& message, Clock::time_point now);
  void on_answer(std::string_view line, const json::Message& message, Clock::time_point now);
  void on_broken_answer(std::string_view raw_id, const std::string& why, Clock::time_point now);
  std::optional<CallId> own_id(std::string_view raw_id);
  void settle(CallId id, Result<CallReply> reply, Clock::time_point now);
  void abandon(CallId id, std::string_view reason);

  void on_initialized(Result<CallReply> reply, Clock::time_point now);
  void request_page(std::string_view raw_cursor);
  void on_page(Result<CallReply> reply, Clock::time_point now);
  void add_tool(std::string_view raw);
  void finish_listing(Clock::time_point now);
  void on_list_failed(Error error, Clock::time_point now);
  bool declares_tools() const;

  SessionOptions options_;
  json::Peeker peeker_;
  SessionState state_ = SessionState::kNew;
  std::optional<Error> failure_;
  std::optional<Error> closed_;
  ServerInfo server_;
  std::vector<Tool> tools_;
  bool tools_known_ = false;
  bool first_line_ = true;

  CallId next_id_ = 1;
  std::map<CallId, Pending> pending_;
  std::set<CallId> abandoned_;  // timed out or cancelled, whose answers may still come; bounded
  std::optional<Listing> listing_;
  bool refresh_again_ = false;  // the list changed while it was being fetched
  std::optional<Clock::time_point> refresh_at_;

  std::vector<std::string> output_;
  std::vector<Completion> completions_;
  std::vector<std::string> log_;
  std::uint64_t log_dropped_ = 0;
  Counters counters_;
};

}  // namespace mcpbox::mcp
