// What is asked of a pull, and what came of it (pull.h).
#pragma once

#include <cstdint>
#include <string>

#include "workspace/pull.h"

namespace mcpbox::provision {

struct PullOptions {
  std::string of;  // the folder whose copy is meant, also one that is kept and not used now; empty = all that the
                   // server uses
  std::string to;  // absolute host folder, in the allowed ones, that gets the server's whole copy; empty = the folder
                   // that was staged
  workspace::PullChoice choice;
};

struct PullOutcome {
  std::string from;              // the folder that was staged
  std::string target;            // where it goes
  bool base_known = true;        // false: what was staged is not known any more, so every difference is a conflict
  std::uint64_t unreadable = 0;  // entries of the copy that no archive can hold, or that the server made unreadable
  workspace::PullReport report;
};

}  // namespace mcpbox::provision
