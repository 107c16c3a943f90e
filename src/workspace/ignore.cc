#include "workspace/ignore.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace mcpbox::workspace {
namespace {

using Classifier = int (*)(int);
// The C locale's classes; git uses the same, bytewise.
Classifier classifier(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Classifier>, 12> kClasses{{
      {"alnum", [](int c) { return std::isalnum(c); }},
      {"alpha", [](int c) { return std::isalpha(c); }},
      {"blank", [](int c) { return c == ' ' || c == '\t' ? 1 : 0; }},
      {"cntrl", [](int c) { return std::iscntrl(c); }},
      {"digit", [](int c) { return std::isdigit(c); }},
      {"graph", [](int c) { return std::isgraph(c); }},
      {"lower", [](int c) { return std::islower(c); }},
      {"print", [](int c) { return std::isprint(c); }},
      {"punct", [](int c) { return std::ispunct(c); }},
      {"space", [](int c) { return std::isspace(c); }},
      {"upper", [](int c) { return std::isupper(c); }},
      {"xdigit", [](int c) { return std::isxdigit(c); }},
  }};
  for (const auto& [known, function] : kClasses) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace

Glob::Glob(std::string_view pattern, bool path_mode) : path_mode_(path_mode) {
  bool literal_so_far = true;
  for (std::size_t at = 0; at < pattern.size() && !malformed_;) {
    char c = pattern[at];
    if (c == '\\') {
      literal_so_far = false;
      if (++at == pattern.size()) {
        malformed_ = true;
        break;
      }
      tokens_.push_back({Kind::kByte, static_cast<unsigned char>(pattern[at++])});
    } else if (c == '?') {
      literal_so_far = false;
      std::bitset<256> any;
      any.set();
      sets_.push_back(any);
      tokens_.push_back({Kind::kSet, 0, static_cast<unsigned>(sets_.size() - 1)});
      ++at;
    } else if (c == '[') {
      literal_so_far = false;
      malformed_ = !add_set(pattern, ++at);
    } else if (c == '*') {
      std::size_t end = pattern.find_first_not_of('*', at);
      if (end == std::string_view::npos) end = pattern.size();
      // git compares a literal prefix by itself and globs the rest, so "**" right behind a literal prefix counts as at
      // the start.
      bool starts = at == 0 || pattern[at - 1] == '/' || literal_so_far;
      bool slash_next = end < pattern.size() && pattern[end] == '/';
      bool escaped_slash_next = pattern.substr(end).starts_with("\\/");
      literal_so_far = false;
      if (!path_mode_) {
        tokens_.push_back({Kind::kAny});
      } else if (end - at >= 2 && starts && slash_next) {
        tokens_.push_back({Kind::kAnyDirectories});
        ++end;
      } else if (end - at >= 2 && starts && (end == pattern.size() || escaped_slash_next)) {
        tokens_.push_back({Kind::kAny});
      } else {
        tokens_.push_back({Kind::kStar});
      }
      at = end;
    } else {
      tokens_.push_back({Kind::kByte, static_cast<unsigned char>(c)});
      ++at;
    }
  }
  auto is_byte = [](const Token& token) { return token.kind == Kind::kByte; };
  auto wild = std::find_if_not(tokens_.begin(), tokens_.end(), is_byte);
  for (auto token = tokens_.begin(); token != wild; ++token) prefix_ += static_cast<char>(token->byte);
  if (wild == tokens_.end()) return;
  for (auto token = tokens_.rbegin(); is_byte(*token); ++token)
    suffix_.insert(suffix_.begin(), static_cast<char>(token->byte));
  std::string run;
  for (const Token& token : tokens_) {
    if (is_byte(token))
      run += static_cast<char>(token.byte);
    else
      run.clear();
    if (run.size() > part_.size()) part_ = run;
  }
}

// Reads the class whose '[' is before `at`; false when it is malformed.
bool Glob::add_set(std::string_view pattern, std::size_t& at) {
  auto peek = [&](std::size_t index) { return index < pattern.size() ? pattern[index] : '\0'; };
  std::bitset<256> set;
  bool negated = peek(at) == '!' || peek(at) == '^';
  if (negated) ++at;
  unsigned char previous = 0;  // the low end of a range that "-" could begin
  for (bool first = true; first || peek(at) != ']'; first = false, ++at) {
    char c = peek(at);
    if (c == '\0') return false;
    if (c == '\\') {
      if ((c = peek(++at)) == '\0') return false;
      set.set(previous = static_cast<unsigned char>(c));
    } else if (c == '-' && previous != 0 && peek(at + 1) != '\0' && peek(at + 1) != ']') {
      c = peek(++at);
      if (c == '\\' && (c = peek(++at)) == '\0') return false;
      for (unsigned value = previous; value <= static_cast<unsigned char>(c); ++value) set.set(value);
      previous = 0;
    } else if (c == '[' && peek(at + 1) == ':') {
      std::size_t close = pattern.find(']', at + 2);
      if (close == std::string_view::npos) return false;
      if (close < at + 3 || pattern[close - 1] != ':') {
        set.set(previous = '[');
        continue;
      }
      Classifier in_class = classifier(pattern.substr(at + 2, close - 1 - (at + 2)));
      if (in_class == nullptr) return false;
      for (int value = 0; value < 128; ++value) {
        if (in_class(value) != 0) set.set(static_cast<std::size_t>(value));
      }
      at = close;
      previous = 0;
    } else {
      set.set(previous = static_cast<unsigned char>(c));
    }
  }
  ++at;
  sets_.push_back(negated ? ~set : set);
  tokens_.push_back({Kind::kSet, 0, static_cast<unsigned>(sets_.size() - 1)});
  return true;
}

// All positions of the pattern that the text read so far can have reached, advanced byte by byte: no backtracking.
bool Glob::matches(std::string_view text, std::uint64_t& steps) const {
  ++steps;
  if (malformed_ || text.size() < prefix_.size() + suffix_.size() || !text.starts_with(prefix_) ||
      !text.ends_with(suffix_) || text.find(part_) == std::string_view::npos)
    return false;
  const std::size_t count = tokens_.size();
  if (prefix_.size() == count) return text.size() == count;
  std::vector<char> now(count + 1, 0);
  std::vector<char> next(count + 1, 0);
  // Positions that are reached without reading: tokens that match the empty text.
  auto settle = [&](std::vector<char>& states) {
    for (std::size_t i = 0; i < count; ++i) {
      Kind kind = tokens_[i].kind;
      if (states[i] != 0 && (kind == Kind::kStar || kind == Kind::kAny)) states[i + 1] = 1;
      // 1 = just arrived, so "nothing" is a match; 2 = within a directory's name, which has to end with '/' first.
      if (states[i] == 1 && kind == Kind::kAnyDirectories) states[i + 1] = 1;
    }
  };
  now[0] = 1;
  settle(now);
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    steps += count;
    std::fill(next.begin(), next.end(), 0);
    for (std::size_t i = 0; i < count; ++i) {
      if (now[i] == 0) continue;
      const Token& token = tokens_[i];
      switch (token.kind) {
        case Kind::kByte:
          if (token.byte == byte) next[i + 1] = 1;
          break;
        case Kind::kSet:
          if (sets_[token.set].test(byte) && !(path_mode_ && c == '/')) next[i + 1] = 1;
          break;
        case Kind::kStar:
          if (c != '/') next[i] = 1;
          break;
        case Kind::kAny:
          next[i] = 1;
          break;
        case Kind::kAnyDirectories:
          next[i] = 2;
          if (c == '/') next[i + 1] = 1;
          break;
      }
    }
    settle(next);
    now.swap(next);
    if (std::all_of(now.begin(), now.end(), [](char state) { return state == 0; })) return false;
  }
  return now[count] != 0;
}

IgnoreRules::IgnoreRules(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text = text.substr(0, kMaxBytes);
  while (!text.empty() && rules_.size() < kMaxPatterns) {
    std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.ends_with('\r') && end != std::string_view::npos) line.remove_suffix(1);
    if (line.find('\0') != std::string_view::npos) line = line.substr(0, line.find('\0'));
    // Trailing spaces do not count unless a backslash protects them.
    std::size_t length = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\' && i + 1 < line.size())
        length = ++i + 1;
      else if (line[i] != ' ')
        length = i + 1;
    }
    line = line.substr(0, length);
    if (line.empty() || line.front() == '#') continue;
    bool negated = line.front() == '!';
    if (negated) line.remove_prefix(1);
    bool directories_only = line.ends_with('/');
    if (directories_only) line.remove_suffix(1);
    if (line.empty()) continue;
    bool base_name = line.find('/') == std::string_view::npos;
    if (line.front() == '/') line.remove_prefix(1);
    rules_.push_back({Glob(line, !base_name), negated, directories_only, base_name});
  }
}

std::optional<bool> IgnoreRules::decide(std::string_view path, bool is_directory, std::uint64_t& steps) const {
  std::size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  for (std::size_t i = rules_.size(); i-- > 0;) {
    const Rule& rule = rules_[i];
    if (rule.directories_only && !is_directory) continue;
    if (rule.glob.matches(rule.base_name ? name : path, steps)) return !rule.negated;
  }
  return std::nullopt;
}

std::span<const std::string_view> default_ignored_names() {
  static constexpr std::array<std::string_view, 16> kNames{
      ".git",        ".hg",         ".svn",     "__pycache__",       ".pytest_cache", ".mypy_cache",
      ".ruff_cache", ".hypothesis", ".venv",    "node_modules",      ".tox",          ".nox",
      ".cache",      ".uv-cache",   ".langbot", ".ipynb_checkpoints"};
  return kNames;
}

bool ignored_by_default(std::string_view directory_name) {
  const auto names = default_ignored_names();
  return std::find(names.begin(), names.end(), directory_name) != names.end();
}

bool may_be_virtual_environment(std::string_view directory_name) {
  return directory_name == "venv" || directory_name == "env" || directory_name == ".env" ||
         directory_name == "virtualenv";
}

}  // namespace mcpbox::workspace
