// Takes known secret values out of text that leaves the program: log lines, error messages, stderr excerpts.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace mcpbox {

// Replaces every secret by "***", also in base64 (wherever in the encoded text it lies), hexadecimal (plain, or in
// groups: 61:62:63, 6162 6364), percent-encoding and with any of its characters escaped as JSON and programming
// languages do it. A value of several lines (a key file) is printed line by line, so each line of it with at least 8
// bytes is a secret of its own, but for the armour around keys ("-----BEGIN …-----") and lines of one repeated
// character.
//
// Values of less than 6 bytes occur in ordinary text: of these whole words are hidden ("4711", not "14711" nor
// "1.4711"), of less than 3 bytes those that stand where a value does (=1, "1", : 1), and of words like true and none
// nothing.
//
// What mcpbox says itself is of known words, and a gap in a known sentence tells what was there. So in sentence() those
// secrets stay that are such words (own_words.h); whatever a server, a program or another machine
// said goes through operator() before it becomes a part of a sentence (secrets.h: from_outside()).
//
// Takes time in proportion to the text, whatever the secrets are: of a text that begins secrets again and again (a run
// of zeros, and a secret that begins with one) the rest is hidden without a look.
class Redactor {
 public:
  void add(const Secret& secret);
  // The beginning of a secret before "…", where a text was shortened, is hidden too, if it has at least 4 bytes.
  std::string operator()(std::string_view text) const;
  // As operator(), of a text of ours.
  std::string sentence(std::string_view text) const;
  bool empty() const { return needles_.empty() && words_.empty(); }
  // The longest spelling of a secret in bytes: a caller that redacts a stream keeps that much of a tail back.
  std::size_t longest() const { return longest_; }

  // Where to cut a text near `at` without a secret on both sides: `at`, or the beginning of the secret around it, or
  // the end of one that begins the text. Sees only secrets that `text` has whole.
  std::size_t cut(std::string_view text, std::size_t at) const;
  // For a text that breaks off: as operator(), with an "…" behind it.
  std::string broken_off(std::string_view text) const;

 private:
  struct Range {
    std::size_t begin, end;
  };
  enum class End { kWhole, kBroken };
  enum class From { kOutside, kUs };
  // Bytes of secrets that may still be compared with a text.
  struct Budget {
    std::size_t bytes;
    bool spend(std::size_t more);
  };
  void take(std::string_view value);
  std::size_t place_of(std::string_view start) const;
  // Those that have the first bytes of `text` in common with it.
  std::span<const Secret> beginning_as(std::string_view text) const;
  static bool is_prefix(std::string_view prefix, std::string_view of, Budget& budget);
  // What secrets cover, in order; those that overlap are one range.
  std::vector<Range> find(std::string_view text, End end, From from) const;
  void find_needles(std::string_view text, From from, Budget& budget, std::vector<Range>& into) const;
  void find_words(std::string_view text, From from, std::vector<Range>& into) const;
  std::size_t length_of_broken(std::string_view text, Budget& budget) const;
  void find_broken(std::string_view text, End end, Budget& budget, std::vector<Range>& into) const;
  static std::string replaced(std::string_view text, const std::vector<Range>& ranges);

  std::vector<Secret> needles_;  // sorted, each once
  std::vector<Secret> words_;    // the short ones, sorted, each once
  std::vector<bool> starts_;     // by a hash of the first bytes: whether a needle begins so
  std::size_t longest_ = 0;
  std::size_t longest_needle_ = 0;
};

}  // namespace mcpbox
