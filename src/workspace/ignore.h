// Which names of a staged folder stay behind: `.mcpboxignore` files in gitignore syntax, and built-in defaults.
//
// The rules are those of gitignore(5), checked against git itself in the tests. The files come from the staged folder,
// so they are hostile: matching is at most (pattern × path) steps, which are counted for who has a budget of them; size
// and number of patterns are bounded.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::workspace {

// One glob of gitignore syntax, compiled.
class Glob {
 public:
  // `path_mode`: '*', '?' and classes do not match '/', and "**" as a whole component matches any number of components.
  // Malformed globs (unclosed class, trailing backslash) match nothing, as in git.
  Glob(std::string_view pattern, bool path_mode);
  // Adds what it cost to `steps`: about a nanosecond each.
  bool matches(std::string_view text, std::uint64_t& steps) const;
  bool matches(std::string_view text) const {
    std::uint64_t uncounted = 0;
    return matches(text, uncounted);
  }

 private:
  enum class Kind : unsigned char { kByte, kSet, kStar, kAny, kAnyDirectories };
  struct Token {
    Kind kind;
    unsigned char byte = 0;
    unsigned set = 0;
  };
  bool add_set(std::string_view pattern, std::size_t& at);

  std::vector<Token> tokens_;
  // The bytes at which it must begin and end, and those that must be somewhere: most names fail here, without a run of
  // the automaton.
  std::string prefix_;
  std::string suffix_;
  std::string part_;
  std::vector<std::bitset<256>> sets_;
  bool path_mode_;
  bool malformed_ = false;
};

// The patterns of one file, which hold for the directory that the file is in.
class IgnoreRules {
 public:
  static constexpr std::size_t kMaxBytes = 256 * 1024;
  static constexpr std::size_t kMaxPatterns = 2'000;

  explicit IgnoreRules(std::string_view text);

  // What the last matching pattern says about `path`, relative to the directory of the file: true = ignored, false =
  // kept by "!", nullopt = no pattern matches. Parents are not looked at: who walks does not descend into what is
  // ignored.
  std::optional<bool> decide(std::string_view path, bool is_directory, std::uint64_t& steps) const;
  std::optional<bool> decide(std::string_view path, bool is_directory) const {
    std::uint64_t uncounted = 0;
    return decide(path, is_directory, uncounted);
  }
  bool empty() const { return rules_.empty(); }

 private:
  struct Rule {
    Glob glob;
    bool negated;
    bool directories_only;
    bool base_name;
  };
  std::vector<Rule> rules_;
};

// Names of directories that are never part of a server's code: version control, caches, and what an installer makes
// anew. A folder that is called "env" or "venv" is one of them only when it is a virtual environment; that is for the
// caller to see.
std::span<const std::string_view> default_ignored_names();
bool ignored_by_default(std::string_view directory_name);
bool may_be_virtual_environment(std::string_view directory_name);

}  // namespace mcpbox::workspace
