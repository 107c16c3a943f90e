#include "net/http_input.h"

#include <algorithm>
#include <cstring>

namespace mcpbox::net {

HttpInput::HttpInput(boost::asio::any_io_executor executor, ByteStream& stream)
    : stream_(stream), wake_(executor), arrived_(executor) {}

void HttpInput::consume(std::size_t size) {
  begin_ += std::min(size, end_ - begin_);
  if (watching_) wake_.notify();
}

Task<bool> HttpInput::more(TimePoint deadline) {
  const std::size_t before = end_ - begin_;
  while (end_ - begin_ == before) {
    if (ended_ || given_up_ || full()) co_return false;
    wanted_ = true;
    wake_.notify();
    if (!co_await arrived_.wait_until(deadline)) co_return false;
  }
  co_return true;
}

void HttpInput::watch(bool on) {
  watching_ = on;
  if (on) wake_.notify();
}

void HttpInput::give_up() {
  given_up_ = true;
  arrived_.notify();
}

Task<void> HttpInput::run() {
  for (;;) {
    while ((!wanted_ && !watching_) || full()) co_await wake_.wait();
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ == 0 && buffer_.size() > 4096) buffer_ = {};  // a connection that rests keeps little
    // Most requests fit into a page; who sends more gets more.
    if (buffer_.size() - end_ < 1024) buffer_.resize(std::min(kMax, std::max<std::size_t>(4096, buffer_.size() * 2)));
    const std::size_t offset = end_;
    auto got = co_await stream_.read_some(std::span(buffer_).subspan(offset));
    if (!got || *got == 0) {
      broken_ = !got;
      ended_ = true;
      arrived_.notify();
      co_return;
    }
    end_ += *got;
    wanted_ = false;
    arrived_.notify();
  }
}

}  // namespace mcpbox::net
