// Tables for people on stdout.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::app {

// Left-aligned columns, two spaces between; cells are made printable and measured in code points. The last column is
// not padded.
std::string format_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

// A text of several lines as one, for a cell or the end of a line: without empty ones, with " | " between two, and a
// space after a colon.
std::string in_one_line(std::string_view text);

}  // namespace mcpbox::app
