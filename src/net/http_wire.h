// What HTTP/1.1 is on the wire, without I/O: reads requests piece by piece and writes the heads of answers. Beast is
// behind it, in http_wire.cc only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/http_exchange.h"

namespace mcpbox::net {

constexpr std::size_t kMaxHead = 16u << 10;  // request line and fields, in bytes

// Why a request cannot be served: the status to answer with, and a line for people.
struct WireError {
  unsigned status = 400;
  std::string text;
};
template <class T>
using WireResult = std::expected<T, WireError>;

// Reads one request. `data` is always what the client sent and was not used yet; what was used is not given again.
class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;

  struct Step {
    std::size_t used = 0;     // bytes of `data`
    std::size_t written = 0;  // bytes of the body, into `into`
    bool more = false;        // nothing further can be said without more data
  };
  // Until head_done(). 400, 431 (a head above kMaxHead), 505.
  WireResult<Step> read_head(std::string_view data);
  bool head_done() const;
  // Everything but path, query and peer.
  void describe(ServedRequest& request) const;
  std::string_view target() const;
  bool keep_alive() const;
  bool http_1_0() const;
  // The client asks to go on with this protocol (compared without case).
  bool asks_for_upgrade(std::string_view protocol) const;
  bool asks_for_upgrade() const;
  bool expects_continue() const;

  // Until done(). 400 for what is no body.
  WireResult<Step> read_body(std::string_view data, std::span<char> into);
  bool done() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

enum class Framing {
  kLength,   // Content-Length
  kChunked,  // RFC 9112 §7.1
  kClose,    // until the connection ends, for HTTP/1.0
  kNone,     // no body at all: 1xx, 204, 304
};

struct ReplyHead {
  unsigned status = 200;
  std::string content_type;  // empty = none
  HttpFields fields;
  Framing framing = Framing::kLength;
  std::uint64_t length = 0;
  bool keep_alive = true;
  std::string upgrade;  // the protocol of a 101
};
std::string write_head(const ReplyHead& head);
// "3\r\n"; the piece and "\r\n" follow.
std::string chunk_head(std::size_t size);
constexpr std::string_view kLastChunk = "0\r\n\r\n";

// May stand in a head (RFC 9110 §5.5): no line break, no NUL.
bool is_field_value(std::string_view text);

}  // namespace mcpbox::net
