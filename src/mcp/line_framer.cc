#include "mcp/line_framer.h"

#include <algorithm>

namespace mcpbox::mcp {
namespace {

constexpr std::size_t kCompactFrom = 64u << 10;
constexpr std::size_t kKeepCapacity = 1u << 20;  // what one huge line made the buffer grow to is given back

}  // namespace

void keep_tail(std::string& tail, std::string_view piece) {
  if (piece.size() >= kExcerpt) {
    tail.assign(piece.substr(piece.size() - kExcerpt));
    return;
  }
  tail += piece;
  if (tail.size() > kExcerpt) tail.erase(0, tail.size() - kExcerpt);
}

void LineFramer::release() {
  buffer_.clear(kKeepCapacity);
  begin_ = scanned_ = 0;
}

void LineFramer::feed(std::string_view bytes) {
  if (begin_ == buffer_.size()) {
    release();
  } else if (begin_ >= kCompactFrom && begin_ >= buffer_.size() / 2) {
    // At most as many bytes move as were delivered since the last time: linear over the stream.
    buffer_.erase_front(begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  buffer_.append(bytes);
}

void LineFramer::drop(std::string_view piece) {
  if (!dropping_) {
    dropping_ = true;
    dropped_ = 0;
    head_.clear();
    tail_.clear();
  }
  dropped_ += piece.size();
  if (head_.size() < kExcerpt) head_ += piece.substr(0, kExcerpt - head_.size());
  keep_tail(tail_, piece);
}

LineFramer::Next LineFramer::finish_drop() {
  dropping_ = false;
  if (!tail_.empty() && tail_.back() == '\r') {
    tail_.pop_back();
    --dropped_;
    if (head_.size() > dropped_) head_.pop_back();
  }
  return {Item::kTooLong, head_, dropped_, tail_};
}

LineFramer::Next LineFramer::next() {
  for (;;) {
    const std::size_t newline = buffer_.view().find('\n', scanned_);
    if (newline == std::string::npos) {
      scanned_ = buffer_.size();
      // One byte more than the limit may still be the "\r" of a line that just fits.
      if (buffered() > 0 && (dropping_ || buffered() > max_line_ + 1)) {
        drop(buffer_.view().substr(begin_));
        begin_ = scanned_;
      }
      // At once and not with the next feed, which may be long in coming: what was delivered is the reader's copy.
      if (begin_ == buffer_.size()) release();
      return {};
    }
    std::string_view line = buffer_.view().substr(begin_, newline - begin_);
    begin_ = scanned_ = newline + 1;
    if (dropping_) {
      drop(line);
      return finish_drop();
    }
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) {
      ++blank_;
      continue;
    }
    if (line.size() > max_line_) {
      drop(line);
      dropping_ = false;
      return {Item::kTooLong, head_, dropped_, tail_};
    }
    return {Item::kLine, line, line.size(), {}};
  }
}

std::string_view LineFramer::rest() const {
  if (dropping_) return head_;
  return buffer_.view().substr(begin_, std::min(buffered(), max_line_));
}

}  // namespace mcpbox::mcp
