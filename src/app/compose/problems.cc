#include "app/compose/problems.h"

#include <algorithm>

#include "app/output.h"

namespace mcpbox::app {

void print_problems(const std::vector<config::Problem>& problems) {
  const std::size_t told = std::min(problems.size(), kProblemsTold);
  for (std::size_t i = 0; i < told; ++i) print_err("{}\n", problems[i].text());
  if (told < problems.size()) print_err("{}: and {} more\n", problems[told].file, problems.size() - told);
}

}  // namespace mcpbox::app
