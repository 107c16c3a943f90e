// One HTTP/1.1 request and its answer, as a handler sees them (RFC 9110, RFC 9112).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/byte_stream.h"
#include "net/task.h"

namespace mcpbox::net {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

// The head of a request. What is malformed, or could be read in two ways, was answered with 400 before.
struct ServedRequest {
  std::string method;                           // "GET"; case-sensitive (RFC 9110 §9.1)
  std::string path;                             // decoded once, normalised: no "..", no "//", no NUL
  std::map<std::string, std::string> query;     // decoded; a name stands once
  HttpFields fields;                            // names in lower case, in the order received
  std::string content_type;                     // as it was sent; empty when absent
  std::optional<std::uint64_t> content_length;  // absent for chunked bodies and where there is no body
  Peer peer;
  bool crowded = false;  // it came over one of the last connections (HttpServerOptions::reserved)

  // The first field of that lower-case name; empty when absent.
  std::string_view field(std::string_view name) const;
  std::size_t count(std::string_view name) const;
};

// A handler calls exactly one of send(), begin() and upgrade(). Errors of the answering half mean that the client is
// gone. One read and one write may run at a time.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const ServedRequest& request() const = 0;

  // Before the first read: another limit than HttpServerOptions::max_body, in bytes.
  virtual void limit_body(std::uint64_t bytes) = 0;
  // The body as it comes, at least one byte; 0 at its end. Nothing is read from the client that the handler does not
  // take. A client that waits for "100 Continue" gets it at the first read (RFC 9110 §10.1.1). kResourceExhausted: it
  // is longer than the limit. kTimeout: it comes too slowly. kAborted: with it too much of bodies is on its way.
  // kInvalidArgument: it is no body. kUnavailable: the client is gone.
  virtual Task<Result<std::size_t>> read_some(std::span<char> into) = 0;

  // A field of the answer's head, before it is sent. Content-Type, framing and Connection are set by the server. A
  // value with a line break ends the program's fault: the field is left out and said in the log.
  virtual void set_field(std::string name, std::string value) = 0;
  virtual Task<Result<void>> send(unsigned status, std::string content_type, std::string body) = 0;
  // The same with a body in three parts, which are not put together: for a large one within a few bytes of ours. They
  // live until this returns.
  virtual Task<Result<void>> send(unsigned status, std::string content_type, std::string_view before,
                                  std::string_view middle, std::string_view after) = 0;
  // A streamed answer: begin, any number of writes, end. Chunked (RFC 9112 §7.1), also for text/event-stream; to an
  // HTTP/1.0 client it ends with the connection. Each write is on its way when it returns, and waits while the client
  // takes nothing.
  virtual Task<Result<void>> begin(unsigned status, std::string content_type) = 0;
  virtual Task<Result<void>> write(std::string piece) = 0;
  virtual Task<Result<void>> end() = 0;

  // Answers 101 and hands the connection over (RFC 9110 §7.8): what the client sent behind its request comes first. The
  // stream belongs to the exchange and the connection ends with the handler. From now on only the handler's reads and
  // writes notice that the client went away. kFailedPrecondition when the client did not ask for `protocol`.
  virtual Task<Result<ByteStream*>> upgrade(std::string protocol) = 0;
};

// Is cancelled (Asio's terminal cancellation) when the client goes away before it ended, and when the server stops:
// what it does must be safe to cut short wherever it suspends. A client that only shut its writing side down is still
// there: on unix sockets the kernel tells the two apart, over TCP a long-running handler's client is sent "100
// Continue", which a closed socket answers with a reset; over TLS nobody half-closes.
using HttpHandler = std::function<Task<void>(HttpExchange&)>;

// The whole body; the errors of read_some().
Task<Result<std::string>> read_body(HttpExchange& exchange);
// The status that says why a body could not be read: 400, 408, 413 or 429.
unsigned status_of_body_error(Code code);

}  // namespace mcpbox::net
