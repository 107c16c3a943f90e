#include "config/units.h"

#include <charconv>
#include <string>

namespace mcpbox::config {
namespace {

struct WithUnit {
  std::uint64_t number = 0;
  std::string unit;  // in lower case, not empty
};

std::optional<WithUnit> read_unit(std::string_view text) {
  WithUnit read;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read.number);
  if (error != std::errc() || read.number > (1u << 30)) return std::nullopt;
  for (const char c : std::string_view(end, text.data() + text.size()))
    read.unit += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (read.unit.empty()) return std::nullopt;
  return read;
}

}  // namespace

std::optional<std::uint64_t> mebibytes(std::string_view text) {
  const auto read = read_unit(text);
  if (!read) return std::nullopt;
  const std::string_view behind = std::string_view(read->unit).substr(1);
  if (!behind.empty() && behind != "b" && behind != "ib") return std::nullopt;
  switch (read->unit.front()) {
    case 'm':
      return read->number;
    case 'g':
      return read->number << 10;
    case 't':
      return read->number << 20;
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> seconds(std::string_view text) {
  const auto read = read_unit(text);
  if (!read) return std::nullopt;
  if (read->unit == "s") return read->number;
  if (read->unit == "m") return read->number * 60;
  if (read->unit == "h") return read->number * 3600;
  return std::nullopt;
}

}  // namespace mcpbox::config
