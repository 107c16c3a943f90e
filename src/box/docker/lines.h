// Cuts an engine's stream of JSON documents into lines.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace mcpbox::box {

class DockerLines {
 public:
  static constexpr std::size_t kMaxLine = 1 << 20;

  // Calls take(line) → Result<void> for every line that `piece` completes; the first error ends it.
  template <class Take>
  Result<void> feed(std::string_view piece, Take take) {
    while (!piece.empty()) {
      const auto end = piece.find('\n');
      line_.append(piece.substr(0, end));
      if (line_.size() > kMaxLine) return fail(Code::kDataLoss, "the engine sent a line longer than 1 MiB");
      if (end == piece.npos) return {};
      piece.remove_prefix(end + 1);
      const std::string line = std::exchange(line_, {});
      if (auto taken = take(std::string_view(line)); !taken) return taken;
    }
    return {};
  }
  // What came after the last line break.
  std::string rest() { return std::exchange(line_, {}); }

 private:
  std::string line_;
};

}  // namespace mcpbox::box
