#include "box/process.h"

#include <fmt/core.h>
#include <string.h>

namespace mcpbox::box {

std::string ProcessExit::describe() const {
  if (signal == 0) return fmt::format("exit code {}", code);
  const char* name = ::sigabbrev_np(signal);  // glibc 2.32
  std::string text =
      name != nullptr ? fmt::format("killed by SIG{}", name) : fmt::format("killed by signal {}", signal);
  if (killed_for_memory) text += " (out of memory)";
  return text;
}

}  // namespace mcpbox::box
