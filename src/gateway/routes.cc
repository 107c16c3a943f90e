#include "gateway/routes.h"

#include "base/text.h"

namespace mcpbox::gateway {

bool path_fits(std::string_view pattern, std::string_view path, std::vector<std::string>& parameters) {
  const auto wanted = split(pattern, '/');
  const auto given = split(path, '/');
  if (wanted.size() != given.size()) return false;
  std::vector<std::string> found;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].starts_with('{')) {
      if (given[i].empty()) return false;
      found.emplace_back(given[i]);
    } else if (wanted[i] != given[i]) {
      return false;
    }
  }
  parameters = std::move(found);
  return true;
}

}  // namespace mcpbox::gateway
