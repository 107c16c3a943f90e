#include "app/numbers.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <optional>
#include <utility>

#include "base/text.h"
#include "config/units.h"

namespace mcpbox::app {
namespace {

std::optional<std::uint64_t> with_unit(std::string_view text, Unit unit) {
  switch (unit) {
    case Unit::kNone:
      return std::nullopt;
    case Unit::kMebibytes:
      return config::mebibytes(text);
    case Unit::kSeconds:
      return config::seconds(text);
  }
  return std::nullopt;
}

std::string_view units_in_words(Unit unit) {
  switch (unit) {
    case Unit::kNone:
      return "";
    case Unit::kMebibytes:
      return ", or with a unit, as in 512m or 2g";
    case Unit::kSeconds:
      return ", or with a unit, as in 90s or 5m";
  }
  return "";
}

// `read`: the text as it is converted, or why not.
template <class Read>
void take(CLI::Option* option, std::string name, Read read) {
  option->transform(CLI::Validator(
      [read](std::string& text) {
        auto number = read(text);
        if (!number) return number.error().message();
        text = std::move(*number);
        return std::string();
      },
      std::move(name)));
}

}  // namespace

Result<std::string> read_whole(std::string_view text, const WholeRange& range) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::optional<std::uint64_t> number;
  if (error == std::errc() && end == text.data() + text.size()) number = value;
  if (!number) number = with_unit(text, range.unit);
  if (number && *number >= range.low && *number <= range.high) return std::to_string(*number);
  return fail(Code::kInvalidArgument,
              fmt::format("expected a whole number of {} from {} to {}{}, not '{}'", range.of, range.low, range.high,
                          units_in_words(range.unit), printable(text, 40)));
}

Result<std::string> read_decimal(std::string_view text, double low, double high, std::string_view of) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= low && value <= high)
    return std::string(text);
  return fail(Code::kInvalidArgument,
              fmt::format("expected a number of {} from {} to {}, not '{}'", of, low, high, printable(text, 40)));
}

void take_whole(CLI::Option* option, WholeRange range) {
  take(option, fmt::format("in [{} - {}]", range.low, range.high),
       [range](const std::string& text) { return read_whole(text, range); });
}

void take_decimal(CLI::Option* option, double low, double high, std::string_view of) {
  take(option, fmt::format("in [{} - {}]", low, high),
       [low, high, of](const std::string& text) { return read_decimal(text, low, high, of); });
}

}  // namespace mcpbox::app
