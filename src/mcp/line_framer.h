// Splits a byte stream into lines: linear in its input, bounded in memory, and never losing its place.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/growing_bytes.h"

namespace mcpbox::mcp {

inline constexpr std::size_t kExcerpt = 256;  // bytes kept of each end of a line that is too long

// Feed with what read(2) gave, then take lines until there is none. A line's view is valid until the next feed().
// Ends of line are "\n" and "\r\n"; blank lines are not delivered, but counted. Memory: max_line and one feed at most.
class LineFramer {
 public:
  explicit LineFramer(std::size_t max_line = 16u << 20) : max_line_(max_line) {}

  void feed(std::string_view bytes);

  enum class Item {
    kNone,     // no complete line now
    kLine,     // `line` is one
    kTooLong,  // a line passed max_line: `line` is its first 256 bytes, `tail` its last; delivered when its end was
               // seen
  };
  struct Next {
    Item item = Item::kNone;
    std::string_view line;
    std::size_t length = 0;  // kTooLong: bytes the line had in all, without its end
    std::string_view tail;   // kTooLong only
  };
  Next next();

  // What came after the last end of line, for end of file. At most max_line bytes; the head of a line that is too long.
  std::string_view rest() const;
  // The line that comes is too long already: what it has is dropped until its end.
  bool dropping() const { return dropping_; }
  std::size_t buffered() const { return buffer_.size() - begin_; }
  // How many blank lines were passed over since this was asked last.
  std::size_t take_blank() { return std::exchange(blank_, 0); }

 private:
  void release();
  void drop(std::string_view piece);
  Next finish_drop();

  GrowingBytes buffer_;
  std::size_t begin_ = 0;    // first byte not yet delivered
  std::size_t scanned_ = 0;  // no newline before this offset
  std::size_t max_line_;
  std::size_t blank_ = 0;
  bool dropping_ = false;
  std::size_t dropped_ = 0;
  std::string head_;
  std::string tail_;
};

// The last kExcerpt bytes of `tail` and `piece` together, kept in `tail`.
void keep_tail(std::string& tail, std::string_view piece);

}  // namespace mcpbox::mcp
