// Which hosts an installation asked the egress proxy for in vain.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace mcpbox::provision {

// As rules for install_allow, sorted: what the proxy refused this process (egress::install_process) since then. Reads
// the newest MiB of its log; empty where that cannot be read.
std::vector<std::string> refused_hosts(const std::string& audit_directory, const std::string& process,
                                       std::chrono::system_clock::time_point since);

}  // namespace mcpbox::provision
