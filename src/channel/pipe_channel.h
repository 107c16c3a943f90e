// The stdio transport's framing over two pipes: one message a line (MCP 2025-11-25, basic/transports "stdio").
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <vector>

#include "base/unique_fd.h"
#include "channel/channel.h"
#include "mcp/line_framer.h"

namespace mcpbox::channel {

// Lines end with "\n" or "\r\n"; blank ones are skipped, and told of by the thousand. What stands after the last line
// end counts as a line when the peer ends. Memory: one message of `max_message` bytes and one read of 64 KiB.
class PipeChannel : public Channel {
 public:
  static constexpr std::size_t kMaxMessage = 16u << 20;

  // Owns both ends, which become non-blocking: their open file descriptions are ours alone. `to_peer` is written,
  // `from_peer` is read. Throws system_error when the loop cannot watch one, and closes both.
  PipeChannel(boost::asio::any_io_executor executor, UniqueFd to_peer, UniqueFd from_peer,
              std::size_t max_message = kMaxMessage);

  Task<Received> receive() override;
  Task<Result<void>> send(std::string_view message) override;
  void close_write() override;
  Task<void> close() override;

 private:
  boost::asio::posix::stream_descriptor to_peer_;
  boost::asio::posix::stream_descriptor from_peer_;
  mcp::LineFramer framer_;
  std::vector<char> buffer_;
  std::size_t blank_ = 0;   // blank lines that nobody was told of
  bool ended_ = false;      // the peer's end of file was seen
  bool delivered_ = false;  // and what stood after the last line end was handed out
};

}  // namespace mcpbox::channel
