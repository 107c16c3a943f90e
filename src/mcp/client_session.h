// One MCP client session with one server, handshake-era revisions, without I/O: an Endpoint, the handshake and the
// lists that the server offers.
//
// Fed with messages and time, it says what to send. The driver (hosting/session_loop.h) passes every message to
// on_message(), writes what take_output() gives, hands out take_completions() and take_log(), and calls on_time() when
// next_deadline() has come. While wants_input() is false it reads nothing from the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "json/raw_object.h"
#include "mcp/catalog.h"
#include "mcp/endpoint.h"
#include "mcp/handshake.h"

namespace mcpbox::mcp {

struct SessionOptions {
  std::string client_name = "mcpbox";
  std::string client_version;
  std::string protocol_version = "2025-11-25";  // offered; any of 2024-10-07 … 2025-11-25 is accepted in the answer
  std::chrono::milliseconds initialize_timeout{60'000};
  EndpointLimits limits;
  // The lists that are fetched and kept: rows of catalog.h. The first is the one that a session is ready with.
  std::vector<const CatalogKind*> catalogs{&kToolCatalog};
  CatalogLimits lists;
  // A page of a list with so many bytes waits for the driver in take_long_page(). The default: none does.
  std::size_t long_page = std::numeric_limits<std::size_t>::max();
};

using Tool = CatalogItem;
// The outcome of request(); Reply says which errors there are.
using Completion = Reply;

// kListing is the first tools/list only: calls are possible from then on, and a later refresh does not leave kReady.
enum class SessionState { kNew, kInitializing, kReady, kListing, kFailed, kClosed };

class ClientSession {
 public:
  explicit ClientSession(SessionOptions options);

  // Queues `initialize`.
  void start(Clock::time_point now);
  // Gives what of the line nobody waited for.
  Unasked on_message(ReadLine line, Clock::time_point now);
  Unasked on_message(std::string_view line, Clock::time_point now) { return on_message(reader().read(line), now); }
  // Reads the next line: on a thread, where it is long.
  MessageReader reader() const { return endpoint_.reader(); }
  // A message that was dropped for its length: its two ends. The request that it answered, where its id can be known,
  // fails.
  Unasked on_too_long(std::string_view head, std::string_view tail, std::size_t length, Clock::time_point now);
  // A page of SessionOptions::long_page and more, to be read on a thread; its list waits for on_page_read(). After each
  // message, until there is none.
  struct LongPage {
    const CatalogKind* kind;
    CatalogLimits limits;
    std::string result;
    CatalogPage read() const { return read_page(*kind, limits, result); }
  };
  std::optional<LongPage> take_long_page();
  // The session may have ended meanwhile.
  void on_page_read(const CatalogKind& kind, CatalogPage page, Clock::time_point now);
  void on_time(Clock::time_point now);
  // The server ended or its pipe broke: everything pending completes with `reason`.
  void on_closed(const Error& reason);
  std::optional<Clock::time_point> next_deadline() const;
  bool wants_input() const { return endpoint_.wants_input(); }
  // Requests that wait for an answer, the session's own included.
  std::size_t in_flight() const { return endpoint_.in_flight(); }

  // Any request. A time-out of 0 means none; a timed-out or cancelled
  // request is followed by notifications/cancelled, and a late answer is dropped and counted. Allowed from kListing on;
  // a refusal comes as a completion too.
  CallId request(std::string_view method, const json::RawObject& params, std::chrono::milliseconds timeout,
                 Clock::time_point now);
  void cancel(CallId id, std::string_view reason, Clock::time_point now);
  SessionState state() const { return state_; }
  const std::optional<Error>& failure() const {
    return failure_;
  }  // set in kFailed: why initialize or the first list failed
  const ServerInfo& server() const { return server_; }
  // Null for a kind that is not among the options' catalogs.
  const Catalog* catalog(const CatalogKind& kind) const;
  const std::vector<Tool>& tools() const { return lists_.front().catalog.items(); }
  bool tools_known() const { return lists_.front().catalog.known(); }
  // Counts the lists that came, of every kind.
  std::uint64_t lists_version() const;

  std::optional<std::string> take_output() { return endpoint_.take_output(); }  // one message, without its line end
  std::vector<Completion> take_completions();
  std::vector<std::string> take_log();  // what was no JSON-RPC message, protocol violations: for the server's log, raw

 private:
  bool over() const { return state_ == SessionState::kClosed || state_ == SessionState::kFailed; }
  void drain(Clock::time_point now);
  void take_incoming(Clock::time_point now);
  void on_reply(Reply reply, Clock::time_point now);
  void on_initialized(Result<CallReply> answer, Clock::time_point now);
  void on_peer_request(const PeerRequest& request);
  // One list, and the request for a page of it that waits; 0 = none.
  struct List {
    Catalog catalog;
    CallId page = 0;
  };
  List* waiting_for(CallId page);
  bool is_own(CallId id) { return id == initialize_ || waiting_for(id) != nullptr; }
  // True: a page was asked for. When that was refused at once its reply waits already, and nothing else would come.
  bool advance_lists(Clock::time_point now);
  bool advance(List& list, Clock::time_point now);
  void fail_session(Error error);
  void fail_session(Error error, const Error& reason);
  void end(const Error& reason);
  void note(std::string text);

  SessionOptions options_;
  Endpoint endpoint_;
  std::vector<List> lists_;
  std::vector<LongPage> long_pages_;  // at most one of each list
  SessionState state_ = SessionState::kNew;
  std::optional<Error> failure_;
  ServerInfo server_;
  CallId initialize_ = 0;

  std::vector<Completion> completions_;
  std::vector<std::string> log_;
  std::uint64_t log_dropped_ = 0;
};

}  // namespace mcpbox::mcp
