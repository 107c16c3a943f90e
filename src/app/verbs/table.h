// Tables for people on stdout.
#pragma once

#include <string>
#include <vector>

namespace mcpbox::app {

// Left-aligned columns, two spaces between; cells are made printable and measured in code points. The last column is
// not padded.
std::string format_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

}  // namespace mcpbox::app
