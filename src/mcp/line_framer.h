// Splits a byte stream into lines: linear in its input, bounded in memory, and never losing its place.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mcpbox::mcp {

// Feed with what read(2) gave, then take lines until there is none. A line's view is valid until the next feed().
// Ends of line are "\n" and "\r\n"; blank lines are not delivered.
class LineFramer {
 public:
  explicit LineFramer(std::size_t max_line = 16u << 20) : max_line_(max_line) {}

  void feed(std::string_view bytes);

  enum class Item {
    kNone,     // no complete line now
    kLine,     // `line` is one
    kTooLong,  // a line passed max_line: `line` is its first 256 bytes; the rest is dropped up to its end
  };
  struct Next {
    Item item = Item::kNone;
    std::string_view line;
    std::size_t length = 0;  // kTooLong: bytes the line had in all (reported when its end was seen)
  };
  Next next();

  // What came after the last end of line, for the log at end of file. At most max_line bytes.
  std::string_view rest() const;
  std::size_t buffered() const;

 private:
  std::string buffer_;
  std::size_t begin_ = 0;    // first byte not yet delivered
  std::size_t scanned_ = 0;  // no newline before this offset
  std::size_t max_line_;
  bool dropping_ = false;
  std::size_t dropped_ = 0;
  std::string head_;
};

}  // namespace mcpbox::mcp
