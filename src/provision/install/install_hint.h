// What a failed installation printed, made short: the lines that matter, and what to do about it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mcpbox::provision {

// What to do about a failed installation, from what it printed: no network, no such package or version, build tools
// missing, disk full, killed for memory. `refused`: what the egress proxy refused it meanwhile; named where the output
// says that this was the cause, or nothing that is recognised. Empty when there is nothing to say.
std::string install_hint(std::string_view output, std::span<const std::string> refused = {});

// True when the cause is a network that did not answer: then what was downloaded before is worth keeping.
bool is_network_failure(std::string_view output);

// At most twelve lines of the output, printable: from the first line that names an error on, without progress, warnings
// and advice about log files; the last lines where none names one.
std::string lines_that_matter(std::string_view output);

}  // namespace mcpbox::provision
