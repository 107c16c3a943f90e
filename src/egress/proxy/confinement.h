// Takes from the calling process what the egress proxy does not need: users, capabilities, files, new programs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace mcpbox::egress {

struct ConfinementOptions {
  int audit_directory = -1;  // stays writable
};

struct Confinement {
  bool landlock = false;      // false where the kernel has none
  bool user_dropped = false;  // root became nobody
};

// Before any thread is made. Afterwards: no_new_privs, no dump, no capability, root has become nobody (the audit
// directory and its files have been handed over), and where there is Landlock, files can only be read that name
// resolution needs, only the audit directory can be written, nothing can be executed and no TCP port be listened on.
// Call it after the socket was bound and the audit log opened.
Result<Confinement> confine(const ConfinementOptions& options);

}  // namespace mcpbox::egress
