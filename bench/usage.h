// What every measurement says of itself.
#pragma once

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

namespace mcpbox::bench {

// The exit code where nothing is to be measured: 0 after `--help`, 2 where an argument is no number or there are more
// than `most`. `text` says what the arguments are and what is printed.
inline std::optional<int> usage(int argc, char** argv, int most, const char* text) {
  bool help = false, wrong = argc - 1 > most;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    help = help || word == "--help" || word == "-h";
    wrong = wrong || word.empty() || !std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
  }
  if (!help && !wrong) return std::nullopt;
  std::fprintf(help ? stdout : stderr, "usage: %s", text);
  return help ? 0 : 2;
}

}  // namespace mcpbox::bench
