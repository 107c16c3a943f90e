// Numbers with the unit that people write behind them, where a plain number counts one unit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mcpbox::config {

// "512m", "2g", "1t", in either case and with "b" or "ib" behind: so many MiB. Nothing for a plain number, and for
// everything else.
std::optional<std::uint64_t> mebibytes(std::string_view text);

// "90s", "5m", "1h": so many seconds; nothing as above.
std::optional<std::uint64_t> seconds(std::string_view text);

}  // namespace mcpbox::config
