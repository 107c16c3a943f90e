// Whole JSON-RPC messages to and from one peer, whatever carries them: pipes, a WebSocket, HTTP.
//
// A channel has one reader and one writer at a time, both on the executor that it was made with. Both suspend, and that
// is the back-pressure: while nobody calls receive(), at most one message and one read are kept of what the peer sends;
// send() returns when the transport took the message. What a message says is not looked at here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "net/task.h"

namespace mcpbox::channel {

// One message without its end of line. The view is valid until the next receive() or close().
struct Message {
  std::string_view text;
};

// A message above the channel's limit, which was dropped: its two ends (mcp::kExcerpt bytes each) and its length.
struct TooLong {
  std::string head, tail;
  std::size_t length = 0;
};

// Lines with nothing in them, which are no messages, so many that their reader should know.
struct Blank {
  std::size_t lines = 0;
};

// Nothing comes any more. `why` is kUnavailable for a normal end, and says what broke otherwise.
struct Closed {
  Error why;
};

using Received = std::variant<Message, TooLong, Blank, Closed>;

class Channel {
 public:
  virtual ~Channel() = default;

  // The next message. After Closed it returns Closed at once. Cancelling loses nothing that was not returned yet.
  virtual Task<Received> receive() = 0;
  // `message` is one JSON text without line ends, and lives until this returns. An error says that the peer takes
  // nothing any more; what it sends may still be received. A cancelled send() leaves the stream cut: close() it then.
  virtual Task<Result<void>> send(std::string_view message) = 0;
  // The peer sees the end of its input; a send() that waits fails. receive() goes on.
  virtual void close_write() = 0;
  // Both directions, at once; a receive() that waits returns Closed.
  virtual Task<void> close() = 0;
};

}  // namespace mcpbox::channel
