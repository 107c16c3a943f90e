// Rules that let nobody through as the settings are, known without asking DNS: for a word when they are written, since
// the proxy says so only when a server asks.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace mcpbox::egress {

struct ClosedRule {
  std::string rule;  // as it was written
  std::string why;   // with what would open it, on a line: "10.0.0.1 is a private address, …"
};

// Those of `rules` that name an address which is not public, `localhost`, or a name that `hosts` gives such an address,
// where no range of `allow_private` covers it. Names of presets and what cannot be read are passed over.
std::vector<ClosedRule> closed_rules(const std::vector<std::string>& rules,
                                     const std::vector<std::string>& allow_private,
                                     const std::map<std::string, std::string>& hosts = {});

}  // namespace mcpbox::egress
