// Reads the egress audit back: for `egress tail` and `egress suggest`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "egress/proxy/audit_log.h"
#include "egress/rules/policy.h"

namespace mcpbox::egress {

struct SeenRecord {
  std::string time;
  AuditRecord record;
};
// nullopt for a line that is no record: half written, or not ours.
std::optional<SeenRecord> parse_audit_line(std::string_view line);

// The lines of the log and of its older files, oldest first; at most `max_bytes` of the newest.
std::vector<std::string> read_audit(const AuditOptions& options, std::size_t max_bytes = 32u << 20);

struct Suggestion {
  std::vector<std::string> allow, install_allow;  // rule texts, sorted
  std::vector<std::string> allow_private;         // addresses that egress.allow_private would have to name
  std::vector<std::string> never;                 // "HOST (ADDRESS)", which nothing allows
  std::uint64_t counted_only = 0;                 // decisions of which the log does not say what they were about
};
// What a server's policy would need so that everything it asked for is allowed. Refusals for other reasons than the
// policy and the address (wrong server names) are left out: a rule would not help. `server` "" = all.
Suggestion suggest(const std::vector<std::string>& lines, std::string_view server);

}  // namespace mcpbox::egress
