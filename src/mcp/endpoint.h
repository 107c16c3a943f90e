// One end of a JSON-RPC 2.0 connection, without I/O and without meaning: it matches answers with requests, bounds what
// the peer can make us keep, and hands out everything else.
//
// The owner passes every message to on_message() (or on_too_long()), takes what it meant from next() until there is
// nothing, writes what take_output() gives, and calls on_time() when next_deadline() has come. While wants_input() is
// false the owner reads nothing from the peer: the peer does not take our answers. Payloads stay raw JSON text. Ids
// that we send are integers from 1; ids of the peer go back as they came.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "mcp/message_reader.h"

namespace mcpbox::mcp {

using Clock = std::chrono::steady_clock;
using CallId = std::uint64_t;

struct EndpointLimits {
  std::size_t max_in_flight = 128;  // requests of ours that wait for an answer
  std::size_t max_id = 1024;        // bytes of a peer's id or method; longer ones are noise
  // Bytes of answers that wait to be written: from `high_water` on nothing is read until less than half of it waits.
  std::size_t high_water = 1u << 20;
  // Bytes of everything that waits to be written: a further request of ours is refused then.
  std::size_t max_queued = 16u << 20;
  std::size_t max_repaired = 16u << 20;  // bytes of a message whose invalid UTF-8 was replaced
};

// How a request ended when the peer answered it.
struct CallReply {
  std::string result;  // raw JSON of `result`; empty when error
  std::optional<int> error_code;
  std::string error_message;  // at most 4 KiB of it
  std::string error;          // raw JSON of `error`
};

// "error -32601: Method not found", printable, for messages.
std::string describe_error(const CallReply& reply);

// What came of a request of ours. An error is kTimeout, kCancelled, kUnavailable (the connection ended), kDataLoss (an
// answer that is no valid message, or too long), or why it was refused before anything was sent.
struct Reply {
  CallId id = 0;
  Result<CallReply> outcome;
};
// Views are valid until the next call of next() or on_message().
struct PeerRequest {
  std::string_view id;  // raw JSON, for answer() and refuse()
  std::string method;   // escapes resolved
  std::string_view params;
};
struct PeerNotification {
  std::string method;
  std::string_view params;
};
// What was no message, or a breach of the protocol: for the log, raw, at most 8 KiB.
struct Noise {
  std::string text;
};
using Incoming = std::variant<Reply, PeerRequest, PeerNotification, Noise>;

// What a line held that nobody waited for: everything but the answers that ended a request.
struct Unasked {
  std::size_t messages = 0, bytes = 0;
};

class Endpoint {
 public:
  explicit Endpoint(EndpointLimits limits = {}) : limits_(limits) {}

  // ---- what comes in. The line lives until next() returned nothing, and everything that the line before meant was
  // taken. What is done here takes no time that grows with it, but for one copy of each result or error that somebody
  // waits for.
  void on_message(ReadLine line);
  // Reads the next line.
  MessageReader reader() const { return {limits_.max_repaired, first_message_}; }
  // A message that was dropped for its length: the request that it answered, where its id can be known, fails.
  void on_too_long(std::string_view head, std::string_view tail, std::size_t length);
  void on_time(Clock::time_point now);
  // The connection ended: everything that waits ends with `reason`, and so does every later request.
  void on_closed(const Error& reason);
  std::optional<Clock::time_point> next_deadline() const;
  std::optional<Incoming> next();
  bool wants_input() const { return reading_; }
  // Of the newest line, once next() returned nothing. Of a line that was dropped for its length no bytes count.
  const Unasked& unasked() const { return unasked_; }

  // ---- what goes out
  enum class Cancel { kAllowed, kNever };  // initialize must not be cancelled (2025-11-25, basic/lifecycle)
  // `params` is raw JSON of an object on one line, or empty. A time-out of 0 means none. What is refused ends as a
  // Reply too. After a time-out or cancel() a late answer is dropped; the peer hears notifications/cancelled when it
  // was sent the request already.
  // The owner's own requests are few, and not kept out by those that it passes on: max_in_flight is for the latter.
  enum class From { kOwner, kCaller };
  CallId request(std::string_view method, std::string_view params, std::chrono::milliseconds timeout,
                 Clock::time_point now, From from = From::kCaller, Cancel cancel = Cancel::kAllowed);
  // A Reply with this error, without sending anything: for who refuses a request before the endpoint sees it.
  CallId refuse_request(Error why);
  void cancel(CallId id, std::string_view reason);
  void notify(std::string_view method, std::string_view params);
  void answer(std::string_view raw_id, std::string_view result);
  void refuse(std::string_view raw_id, int code, std::string_view message);
  // The next message to write, without its end of line.
  std::optional<std::string> take_output();

  bool waiting(CallId id) const { return pending_.contains(id); }
  std::size_t in_flight() const { return pending_.size(); }

 private:
  struct Pending {
    std::string method;
    std::optional<Clock::time_point> deadline;
    std::chrono::milliseconds timeout{0};
    Cancel cancel = Cancel::kAllowed;
  };
  struct Outgoing {
    std::string text;
    CallId request = 0;      // 0: no request of ours
    bool is_answer = false;  // counted against high_water
  };

  void take(const ReadMessage& read);
  void on_answer(const ReadMessage& read);
  void drop_too_long(std::string_view head, std::string_view tail, std::size_t length);
  void on_broken_answer(std::string_view raw_id, const std::string& why);
  bool id_is_too_long(const json::Message& message);
  std::optional<CallId> own_id(std::string_view raw_id) const;
  void settle(CallId id, Result<CallReply> outcome);
  void abandon(CallId id, std::string_view reason);
  void send(std::string text, CallId request = 0, bool is_answer = false);
  void send_answer(std::string text);
  void note(std::string_view text);

  EndpointLimits limits_;
  bool first_message_ = true;
  bool reading_ = true;
  std::optional<Error> closed_;

  ReadLine line_;
  std::size_t taken_ = 0;  // of its messages
  Unasked unasked_;
  std::deque<Incoming> ready_;

  CallId next_id_ = 1;
  std::map<CallId, Pending> pending_;
  std::set<CallId> abandoned_;  // whose answers may still come; bounded

  std::deque<Outgoing> output_;
  std::size_t queued_ = 0;          // bytes of output_
  std::size_t queued_answers_ = 0;  // bytes of its answers
};

}  // namespace mcpbox::mcp
