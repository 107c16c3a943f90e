// Numbers on the command line: what is no number in its range is answered with what is wanted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace CLI {
class Option;
}

namespace mcpbox::app {

enum class Unit { kNone, kMebibytes, kSeconds };

struct WholeRange {
  std::uint64_t low = 0, high = 0;
  std::string_view of;      // what it counts: "processes", "MiB"
  Unit unit = Unit::kNone;  // 512m and 2g, or 90s and 5m, are taken too (config/units.h)
};

// The number as decimal digits. kInvalidArgument says what is expected.
Result<std::string> read_whole(std::string_view text, const WholeRange& range);
Result<std::string> read_decimal(std::string_view text, double low, double high, std::string_view of);

// Has the option's value read so before it is converted; `--help` shows the range.
void take_whole(CLI::Option* option, WholeRange range);
void take_decimal(CLI::Option* option, double low, double high, std::string_view of);

}  // namespace mcpbox::app
