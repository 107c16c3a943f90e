#include "app/verbs/table.h"

#include <algorithm>
#include <cstddef>

#include "base/text.h"

namespace mcpbox::app {
namespace {

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string format_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> all{head};
  for (const auto& row : rows) {
    std::vector<std::string> safe;
    for (const std::string& cell : row) safe.push_back(printable(cell, &cell == &row.back() ? 1500 : 400));
    all.push_back(std::move(safe));
  }
  std::vector<std::size_t> widths(head.size(), 0);
  for (const auto& row : all) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const auto& row : all) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size() && i < widths.size()) line.append(widths[i] - width_of(row[i]) + 2, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string in_one_line(std::string_view text) {
  std::string out;
  for (const std::string_view line : split(text, '\n')) {
    const std::string_view words = trim(line);
    if (words.empty()) continue;
    if (!out.empty()) out += out.ends_with(':') ? " " : " | ";
    out += words;
  }
  return out;
}

}  // namespace mcpbox::app
