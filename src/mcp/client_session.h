// One MCP client session with one server, handshake-era revisions, without I/O: fed with lines and time, it says what to send.
//
// The driver (hosting/) passes every stdout line to on_line(), takes lines to write from take_output(), completed calls from
// take_completions(), and calls on_time() when next_deadline() has come. Payloads stay raw JSON text: numbers, key order and
// unknown members survive. Ids that we send are integers from 1.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

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
  std::size_t max_in_flight = 256;
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
  std::string result;   // raw JSON of `result`; empty when error
  std::optional<int> error_code;
  std::string error_message;
  std::string error;    // raw JSON of `error`
};

struct Completion {
  CallId id = 0;
  Result<CallReply> reply;  // kTimeout, kCancelled, kUnavailable (session ended; the message says how)
};

enum class SessionState { kNew, kInitializing, kReady, kListing, kFailed, kClosed };

class ClientSession {
 public:
  explicit ClientSession(SessionOptions options);

  // Queues `initialize`.
  void start(Clock::time_point now);
  void on_line(std::string_view line, Clock::time_point now);
  void on_time(Clock::time_point now);
  // The server ended or its pipe broke: everything pending completes with `reason`.
  void on_closed(const Error& reason);
  std::optional<Clock::time_point> next_deadline() const;

  // Any request. `params` is raw JSON of an object, or empty. A time-out of 0 means none; a timed-out or cancelled request is
  // followed by notifications/cancelled, and a late answer is dropped and counted.
  CallId request(std::string_view method, std::string_view params, std::chrono::milliseconds timeout, Clock::time_point now);
  void cancel(CallId id, std::string_view reason);
  // tools/list with all its pages: tools() is replaced when the last page came. Happens by itself after initialize and after
  // notifications/tools/list_changed.
  void refresh_tools(Clock::time_point now);

  SessionState state() const;
  const std::optional<Error>& failure() const;  // set in kFailed: why initialize or the first list failed
  const ServerInfo& server() const;
  const std::vector<Tool>& tools() const;
  bool tools_known() const;

  std::vector<std::string> take_output();          // complete lines with "\n"
  std::vector<Completion> take_completions();
  std::vector<std::string> take_log();             // what was no JSON-RPC message, protocol violations: for the server's log, raw

  struct Counters {
    std::uint64_t messages_in = 0, messages_out = 0, invalid_lines = 0, unknown_responses = 0, late_responses = 0;
  };
  const Counters& counters() const;
};

}  // namespace mcpbox::mcp
