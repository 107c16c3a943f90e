// Which hosts and ports a server may reach, and when: the egress policy and its decisions.
//
// Pure: no I/O. Everything that is not named is denied; a default-constructed policy denies all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "egress/rules/host_name.h"

namespace mcpbox::egress {

enum class Phase { kInstall, kRun };
enum class Mode {
  kNone,       // nothing
  kAllowlist,  // what a rule names
  kPublic,     // any public address in the run phase, in the install phase as kAllowlist; private ones still only where
               // a rule names them
};

std::string_view phase_name(Phase phase);
// "none" or "off", "allowlist", "public" or "on"; kInvalidArgument names the choices.
Result<Mode> parse_mode(std::string_view text);
Result<Phase> parse_phase(std::string_view text);

// "api.example.com", "*.example.com" (any depth below, never example.com itself), "10.0.0.7", "[2001:db8::1]". Allows
// the ports 443 and 80, or those that follow: ":PORT", ":PORT,PORT".
class Rule {
 public:
  // kInvalidArgument says what is wrong and what to write instead; "*", "*.com" and a "*" elsewhere are refused.
  static Result<Rule> parse(std::string_view text);

  bool matches_host(const HostName& host) const;
  bool matches_port(std::uint16_t port) const;
  // True for a rule of one host: only such a rule can open an address of `allow_private`.
  bool exact() const { return !wildcard_; }
  const HostName& host() const { return host_; }
  const std::vector<std::uint16_t>& ports() const { return ports_; }
  const std::string& text() const { return text_; }  // normalised

 private:
  HostName host_;  // of a wildcard: what stands after "*."
  bool wildcard_ = false;
  std::vector<std::uint16_t> ports_;
  std::string text_;
};

struct Policy {
  Mode mode = Mode::kNone;
  std::vector<Rule> allow;          // in the run phase
  std::vector<Rule> install_allow;  // in the install phase
  // In the install phase too: what mcpbox itself derived from the plan and the user's mirror settings. The user's own
  // pip or npm would go there, so company mirrors on private addresses are reached without an exception
  // (Destinations::check).
  std::vector<Rule> registries;

  const std::vector<Rule>& rules(Phase phase) const { return phase == Phase::kInstall ? install_allow : allow; }
};

inline constexpr std::size_t kMaxRules = 1000;

// Reads the texts of rules; the first wrong one is the error.
Result<std::vector<Rule>> parse_rules(const std::vector<std::string>& texts);

struct Decision {
  bool allowed = false;
  std::string rule;       // the rule's text, "public", or "" when denied
  bool named = false;     // a rule of exactly this host: exceptions for private addresses may apply
  bool registry = false;  // a registry's: private addresses are allowed
  std::string reason;     // when denied: one line for people, saying what to add
};

Decision decide(const Policy& policy, Phase phase, const HostName& host, std::uint16_t port);

}  // namespace mcpbox::egress
