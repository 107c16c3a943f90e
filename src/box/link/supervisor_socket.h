// A unix stream socket that carries descriptors, for one loop: what came is handed on, what is to go is queued.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::box {

// Connects at once or says why not (kUnavailable when nobody listens there yet, kNotFound when the path is missing).
// Paths longer than sun_path go through a descriptor of their directory.
Result<UniqueFd> connect_unix(const std::string& path);

// Lives in a shared_ptr, because pending operations hold it. After close() no handler is called any more.
class SupervisorSocket : public std::enable_shared_from_this<SupervisorSocket> {
 public:
  using Received = std::function<void(std::string_view bytes, std::vector<UniqueFd> fds)>;
  using Lost = std::function<void(const Error&)>;

  SupervisorSocket(boost::asio::any_io_executor executor, UniqueFd socket);
  void start(Received received, Lost lost);
  // Queues the bytes; the descriptors go with the first one. kResourceExhausted when 64 MiB are waiting. kUnavailable
  // when they cannot be sent; then the link is lost soon after, unless it is already.
  Result<void> send(std::string bytes, std::vector<UniqueFd> fds);
  void close();

 private:
  struct Outgoing {
    std::string bytes;
    std::size_t sent = 0;
    std::vector<UniqueFd> fds;
  };
  void wait_for_input();
  void receive();
  void wait_for_room();
  bool write_some();  // false after an error
  void lose(Error error);

  boost::asio::posix::stream_descriptor socket_;
  Received received_;
  Lost lost_;
  std::deque<Outgoing> out_;
  std::size_t queued_ = 0;
  bool writing_ = false;
  std::optional<Error> broken_;  // why nothing can be sent any more
};

}  // namespace mcpbox::box
