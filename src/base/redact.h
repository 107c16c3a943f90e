// Takes known secret values out of text that leaves the program: log lines, error messages, stderr excerpts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace mcpbox {

// Replaces every secret of at least 6 bytes by "***", also in its base64, URL-encoded and JSON-escaped spelling. A
// value of several lines (a key file) is printed line by line, so each line of it with at least 8 bytes is a secret of
// its own, but for the armour around keys ("-----BEGIN …-----") and lines of one repeated character.
class Redactor {
 public:
  void add(const Secret& secret);
  std::string operator()(std::string_view text) const;
  bool empty() const { return needles_.empty(); }
  // The longest needle in bytes: a caller that redacts a stream keeps that much of a tail back.
  std::size_t longest() const { return longest_; }

  // Where to cut a text near `at` without a secret on both sides: `at`, or the beginning of the secret around it, or
  // the end of one that begins the text. Sees only secrets that `text` has whole.
  std::size_t cut(std::string_view text, std::size_t at) const;
  // For a text that breaks off: as operator(), and at least 4 bytes at its end that begin a secret are hidden too.
  std::string broken_off(std::string_view text) const;

 private:
  struct Range {
    std::size_t begin, end;
  };
  // What secrets cover, in order; those that overlap are one range.
  std::vector<Range> find(std::string_view text) const;
  static std::string replaced(std::string_view text, const std::vector<Range>& ranges);

  std::vector<Secret> needles_;  // sorted, each once
  std::vector<bool> starts_;     // by a hash of the first bytes: whether a needle begins so
  std::size_t longest_ = 0;
};

}  // namespace mcpbox
