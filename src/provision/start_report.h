// Who is told how a start goes on.
#pragma once

#include <string_view>

#include "provision/phase.h"

namespace mcpbox::provision {

// Called on the loop of the start, between its first and its last step and never afterwards. Must not end the start.
struct StartReport {
  virtual ~StartReport() = default;
  // The start has come to this phase, or failed in it.
  virtual void phase(Phase now) = 0;
  // A step of an installation, or (indented) a line of what it prints: untrusted text, not redacted.
  virtual void progress(std::string_view line) = 0;
  // What was skipped, kept or decided: for the server's log.
  virtual void note(std::string_view line) = 0;
  // The same, where somebody should hear of it who did not ask for all steps.
  virtual void tell(std::string_view line) { note(line); }
};

}  // namespace mcpbox::provision
