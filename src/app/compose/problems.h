// How people are told what is wrong with a configuration.
#pragma once

#include <vector>

#include "config/load.h"

namespace mcpbox::app {

// So many are told at once; the others are counted.
inline constexpr std::size_t kProblemsTold = 50;

// One line each to stderr, and one that says how many more there are.
void print_problems(const std::vector<config::Problem>& problems);

}  // namespace mcpbox::app
