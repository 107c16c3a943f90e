// The controller's side of the link to mcpbox-init without any I/O: numbers requests, cuts what comes into replies and
// events, and finds whom each belongs to.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/wire/messages.h"

namespace mcpbox::box {

class SupervisorLink {
 public:
  // What came for a request. `payload` is decoded by who asked.
  struct Reply {
    std::uint64_t id = 0;
    Result<std::string> payload;
    std::vector<UniqueFd> fds;
  };
  using Event = std::variant<Reply, wire::Exited, wire::Presses>;

  struct Request {
    std::uint64_t id = 0;
    std::string bytes;  // to be sent
  };
  template <class Message>
  Result<Request> request(const Message& message, std::size_t fd_count = 0) {
    auto payload = wire::encode(message);
    if (!payload) return fail(payload.error());
    return frame(Message::kType, *payload, fd_count);
  }

  // kDataLoss when the peer breaks the protocol: the connection must be closed then. Descriptors that belong to no
  // frame are closed.
  Result<void> feed(std::string_view bytes, std::vector<UniqueFd> fds);
  // What feed() found, in order.
  std::optional<Event> next();

 private:
  Result<Request> frame(wire::MessageType type, std::string_view payload, std::size_t fd_count);
  Result<void> take(const wire::Frame& frame);

  wire::FrameReader reader_;
  std::deque<UniqueFd> fds_;
  std::deque<Event> events_;
  std::uint64_t last_id_ = 0;
};

// The error of a reply as a person reads it: "exec 'foo': No such file or directory".
Error to_error(const wire::ErrorReply& reply);

}  // namespace mcpbox::box
