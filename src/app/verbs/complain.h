// How a verb says that it failed.
#pragma once

#include <cstdio>

#include "base/result.h"

namespace mcpbox::app {

// One line to stderr; returns `code`, for `return complain(…)`.
inline int complain(const Error& error, int code) {
  std::fprintf(stderr, "mcpbox: %s\n", error.message().c_str());
  return code;
}

}  // namespace mcpbox::app
