// How a verb says that it failed.
#pragma once

#include "app/output.h"
#include "base/result.h"

namespace mcpbox::app {

// One line to stderr; returns `code`, for `return complain(…)`.
inline int complain(const Error& error, int code) {
  print_err("mcpbox: {}\n", error.message());
  return code;
}

}  // namespace mcpbox::app
