// What `mcpbox run` does to the bytes between a client and its server, without I/O: the client's reading side stays
// clean, and no request of the client is left without an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json/peek.h"

namespace mcpbox::mcp {

struct StdioFilterOptions {
  std::size_t max_line = 16u << 20;
  std::size_t max_in_flight = 4096;  // requests beyond are passed on but not remembered
};

class StdioFilter {
 public:
  explicit StdioFilter(StdioFilterOptions options = {}) : options_(options) {}
  StdioFilter(const StdioFilter&) = delete;
  StdioFilter& operator=(const StdioFilter&) = delete;

  // What to write where. Views point into the bytes that were passed in, where nothing had to change, or into the
  // filter; all are valid until the next call of from_server() or server_ended().
  struct Pieces {
    std::vector<std::string_view> client;  // whole JSON-RPC lines, byte for byte, each ended by "\n": for one writev
    std::vector<std::string_view> noise;   // lines that are no message, raw: printable() is the writer's business
  };

  // Server → client. Changes to a message: "\r\n" becomes "\n", a byte order mark at the start of the stream goes,
  // invalid UTF-8 becomes U+FFFD. A line over the limit, or with an id but no valid message, is noise; the request that
  // it meant to answer gets an error, where its id can be known.
  const Pieces& from_server(std::string_view bytes);
  // The rest at end of file: a complete message without its newline still counts.
  const Pieces& server_ended();

  // Client → server passes unchanged; this only takes note of requests and cancellations, of lines up to the limit.
  void from_client(std::string_view bytes);

  // The server is gone: a JSON-RPC error line (code -32000) for each request in flight, in the order they were made.
  std::string take_error_replies(std::string_view message);

  std::size_t in_flight() const { return in_flight_.size(); }

 private:
  // A line that has not ended yet, or the two ends of one that is too long.
  struct Partial {
    std::string text;
    std::string tail;
    std::size_t length = 0;
    bool dropping = false;
    bool empty() const { return length == 0; }
    void add(std::string_view piece, std::size_t max_line);
    void clear() { *this = {}; }
  };
  struct Request {
    std::string raw_id;
    std::uint64_t order = 0;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  void reset_output();
  void judge(std::string_view line, bool whole);
  void judge_too_long(std::string_view head, std::string_view tail, std::size_t length);
  bool settle_batch(std::string_view line);
  void finish_partial();
  void pass(std::string_view line, bool whole);
  void make_noise(std::string_view line);
  void answer_with_error(std::string_view raw_id, int code, std::string_view message);
  bool forget(std::string_view raw_id);
  void note_client_line(std::string_view line);
  void note_client_message(std::string_view text, const json::Message& message);

  StdioFilterOptions options_;
  json::Peeker peeker_;
  Pieces out_;
  std::deque<std::string> owned_;  // a deque: views into its strings stay valid while it grows
  Partial server_;
  Partial client_;
  bool first_line_ = true;
  std::unordered_map<std::string, Request, Hash, std::equal_to<>> in_flight_;  // by canonical id
  std::uint64_t order_ = 0;
};

}  // namespace mcpbox::mcp
