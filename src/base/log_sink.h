// Writes lines to a descriptor without ever waiting for long for who reads them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mcpbox::log {

// A pipe or terminal that nobody reads takes nothing more: then lines are left out, and counted in a line of their own
// once there is room again. Each descriptor keeps its flags: its open file may be shared with other programs. Borrows
// the descriptor. Not for several threads at a time.
class LineSink {
 public:
  explicit LineSink(int fd) : fd_(fd) {}
  // With its line end.
  void line(std::string_view text);

 private:
  // What of it was taken: all, or what there was room for within `patience_ms`.
  std::size_t put(std::string_view text, int patience_ms) const;

  int fd_;
  std::string rest_;        // of a line that was taken in part
  std::size_t missed_ = 0;  // lines
};

}  // namespace mcpbox::log
