#include "channel/pipe_channel.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "net/adopt.h"
#include "net/wait.h"

namespace mcpbox::channel {
namespace {

namespace asio = boost::asio;
const auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kRead = 64u << 10;  // what a pipe holds as a rule (pipe(7))
constexpr std::size_t kManyBlank = 1024;
constexpr std::chrono::milliseconds kDropPause{4};  // before each read of a line that is dropped: at most 16 MiB/s

}  // namespace

PipeChannel::PipeChannel(asio::any_io_executor executor, UniqueFd to_peer, UniqueFd from_peer, std::size_t max_message)
    : to_peer_(executor), from_peer_(executor), framer_(max_message), buffer_(kRead) {
  net::adopt(to_peer_, std::move(to_peer));
  net::adopt(from_peer_, std::move(from_peer));
}

Task<Received> PipeChannel::receive() {
  using Item = mcp::LineFramer::Item;
  for (;;) {
    if (!delivered_) {
      const auto next = framer_.next();
      if (next.item == Item::kLine) co_return Message{next.line};
      if (next.item == Item::kTooLong) co_return TooLong{std::string(next.line), std::string(next.tail), next.length};
      blank_ += framer_.take_blank();
      if (blank_ >= kManyBlank) co_return Blank{std::exchange(blank_, 0)};
    }
    if (ended_) {
      if (!std::exchange(delivered_, true)) {
        if (const auto last = framer_.rest(); !last.empty()) co_return Message{last};
      }
      co_return Closed{Error(Code::kUnavailable, "the peer closed its output")};
    }
    // A line that never ends is read, so that its writer gets on, but it must not keep this loop busy.
    if (framer_.dropping()) co_await net::sleep_for(kDropPause);
    auto [error, size] = co_await from_peer_.async_read_some(asio::buffer(buffer_), kTuple);
    if (size > 0) framer_.feed({buffer_.data(), size});
    if (!error) continue;
    // A cancelled read leaves the stream as it is; closed by us counts as an end.
    if (error == asio::error::operation_aborted && from_peer_.is_open()) {
      co_return Closed{Error(Code::kCancelled, "reading was cancelled")};
    }
    ended_ = true;
  }
}

Task<Result<void>> PipeChannel::send(std::string_view message) {
  if (!to_peer_.is_open()) co_return fail(Code::kUnavailable, "the peer's input is closed");
  const std::array<asio::const_buffer, 2> line = {asio::buffer(message), asio::buffer("\n", 1)};
  auto [error, size] = co_await asio::async_write(to_peer_, line, kTuple);
  if (error) co_return fail(Code::kUnavailable, "writing to the peer: " + error.message());
  co_return Result<void>{};
}

void PipeChannel::close_write() {
  boost::system::error_code ignored;  // what a pipe's close could say is of no use: the peer ends or has ended
  to_peer_.close(ignored);
}

Task<void> PipeChannel::close() {
  close_write();
  boost::system::error_code ignored;
  from_peer_.close(ignored);
  co_return;
}

}  // namespace mcpbox::channel
