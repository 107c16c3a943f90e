// YAML text → a tree of nodes with places, stricter than the library that reads it.
//
// Refused, each with a text for people: bad UTF-8, a second document, duplicate keys (yaml-cpp keeps both silently),
// anchors, aliases and tags (one line could stand for gigabytes), keys that are no plain text, too many or too deep
// nodes. Scalars keep their text as written: what `no`, `010` or `1.10` means is for the decoder to say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace mcpbox::config {

struct Entry;

struct Node {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  bool plain = true;  // a scalar without quotes
  std::string text;   // of a scalar
  int line = 1;       // from 1
  int column = 1;
  std::vector<Node> items;     // of a sequence
  std::vector<Entry> entries;  // of a map, in the file's order; keys are scalars, each once
};

struct Entry {
  Node key;
  Node value;
};

inline constexpr std::size_t kMaxYamlBytes = 1u << 20;
inline constexpr std::size_t kMaxYamlNodes = 10'000;
inline constexpr std::size_t kMaxYamlDepth = 32;

// The root of the only document. Problems go to `problems` (their `file` is `file`); a tree still comes back when they
// do not keep it from being decoded (duplicate keys: the first one stays).
Node read_yaml(std::string_view text, const std::string& file, std::vector<Problem>& problems, bool& usable);

}  // namespace mcpbox::config
