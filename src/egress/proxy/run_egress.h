// `mcpbox egress serve`: the proxy as a process of its own, ruled by the process that started it.
#pragma once

#include <string>

#include "egress/proxy/audit_log.h"
#include "egress/proxy/proxy.h"

namespace mcpbox::egress {

struct EgressOptions {
  ProxyOptions proxy;
  AuditOptions audit;
  int control_fd = 3;   // a connected stream socket, inherited
  bool confine = true;  // false only where a test looks into the process
};

// Serves until the control channel closes. Returns the process's exit code: 0, or 1 after a line on the log that says
// why it could not start. After confinement the process holds no engine access, no configuration and no file but its
// log.
int run_egress(const EgressOptions& options);

}  // namespace mcpbox::egress
