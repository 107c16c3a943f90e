// Takes known secret values out of text that leaves the program: log lines, error messages, stderr excerpts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace mcpbox {

// Replaces every secret of at least 6 bytes by "***", also in its base64, URL-encoded and JSON-escaped spelling.
class Redactor {
 public:
  void add(const Secret& secret);
  std::string operator()(std::string_view text) const;
  bool empty() const { return needles_.empty(); }
  // The longest needle in bytes: a caller that redacts a stream keeps that much of a tail back.
  std::size_t longest() const { return longest_; }

 private:
  std::vector<Secret> needles_;
  std::size_t longest_ = 0;
};

}  // namespace mcpbox
