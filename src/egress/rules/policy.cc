#include "egress/rules/policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/setting_name.h"
#include "base/text.h"

namespace mcpbox::egress {
namespace {

const std::vector<std::uint16_t> kDefaultPorts = {443, 80};

const Rule* find(const std::vector<Rule>& rules, const HostName& host, std::uint16_t port) {
  const Rule* found = nullptr;
  for (const Rule& rule : rules) {
    if (!rule.matches_host(host) || !rule.matches_port(port)) continue;
    if (rule.exact()) return &rule;
    if (found == nullptr) found = &rule;
  }
  return found;
}

std::string what_to_add(Phase phase, const HostName& host, std::uint16_t port) {
  const bool usual = std::ranges::find(kDefaultPorts, port) != kDefaultPorts.end();
  const std::string entry = usual ? host.authority() : fmt::format("{}:{}", host.authority(), port);
  const bool install = phase == Phase::kInstall;
  if (settings_from() == SettingsFrom::kOptions)
    return fmt::format("run with `{} {}`", install ? "--install-allow" : "--allow", entry);
  return fmt::format("add `box.network.{}: [{}]`", install ? "install_allow" : "allow", entry);
}

}  // namespace

std::string_view phase_name(Phase phase) {
  return phase == Phase::kInstall ? "install" : "run";
}

Result<Mode> parse_mode(std::string_view text) {
  if (text == "none" || text == "off") return Mode::kNone;
  if (text == "allowlist") return Mode::kAllowlist;
  if (text == "public" || text == "on") return Mode::kPublic;
  return fail(Code::kInvalidArgument,
              fmt::format("'{}' is no network mode; use none, allowlist or public", printable(text, 40)));
}

Result<Phase> parse_phase(std::string_view text) {
  if (text == "install") return Phase::kInstall;
  if (text == "run") return Phase::kRun;
  return fail(Code::kInvalidArgument, fmt::format("'{}' is no phase; use install or run", printable(text, 40)));
}

Result<Rule> Rule::parse(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("the rule '{}' is wrong: {}", printable(text, 120), why));
  };
  if (text.contains("://") || text.contains('/'))
    return wrong("write the host alone, without scheme and path: api.example.com or api.example.com:8443");
  std::string_view host = text;
  Rule rule;
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    host = text.substr(0, colon);
    for (const std::string_view word : split(text.substr(colon + 1), ',')) {
      const auto port = parse_port(word);
      if (!port)
        return wrong("ports are numbers from 1 to 65535, separated by commas (IPv6 addresses stand in brackets)");
      rule.ports_.push_back(*port);
    }
    if (rule.ports_.size() > 64) return wrong("at most 64 ports");
  }
  if (host == "*")
    return wrong(fmt::format("'*' would allow everything; use `{}` for that, or name the hosts",
                             setting_name("mode: public", "--network public")));
  if (host.starts_with("*.")) {
    rule.wildcard_ = true;
    host.remove_prefix(2);
  }
  if (host.contains('*')) return wrong("'*' may only stand in front, as in *.example.com");
  auto parsed = parse_host(host);
  if (!parsed) return wrong(parsed.error().message());
  if (rule.wildcard_ && parsed->literal) return wrong("an address has no names below it");
  if (rule.wildcard_ && !parsed->name.contains('.'))
    return wrong("it would allow a whole top-level domain; name at least *.DOMAIN.TLD");
  rule.host_ = std::move(*parsed);
  rule.text_ = (rule.wildcard_ ? "*." : "") + rule.host_.authority();
  if (!rule.ports_.empty()) rule.text_ += fmt::format(":{}", fmt::join(rule.ports_, ","));
  if (rule.ports_.empty()) rule.ports_ = kDefaultPorts;
  return rule;
}

bool Rule::matches_host(const HostName& host) const {
  if (!wildcard_) return host == host_;
  // Label by label: what stands before the suffix ends with a dot, and the suffix alone is not enough.
  return !host.literal && host.name.size() > host_.name.size() + 1 && host.name.ends_with(host_.name) &&
         host.name[host.name.size() - host_.name.size() - 1] == '.';
}

bool Rule::matches_port(std::uint16_t port) const {
  return std::ranges::find(ports_, port) != ports_.end();
}

Result<std::vector<Rule>> parse_rules(const std::vector<std::string>& texts) {
  if (texts.size() > kMaxRules)
    return fail(Code::kInvalidArgument, fmt::format("{} rules are too many; at most {}", texts.size(), kMaxRules));
  std::vector<Rule> rules;
  for (const std::string& text : texts) {
    auto rule = Rule::parse(text);
    if (!rule) return fail(std::move(rule.error()));
    rules.push_back(std::move(*rule));
  }
  return rules;
}

Decision decide(const Policy& policy, Phase phase, const HostName& host, std::uint16_t port) {
  Decision decision;
  // No rule helps, so none is advised.
  if (host.literal && never_excepted(classify(*host.literal))) {
    decision.reason =
        fmt::format("{} is a {} address, which is never allowed", host.name, class_name(classify(*host.literal)));
    return decision;
  }
  if (policy.mode == Mode::kNone) {
    decision.reason = fmt::format(
        "this server has no network (`{}`); set `{}` and {}", setting_name("box.network.mode: none", "--network none"),
        setting_name("mode: allowlist", "--network allowlist"), what_to_add(phase, host, port));
    return decision;
  }
  if (phase == Phase::kInstall) {
    if (const Rule* rule = find(policy.registries, host, port))
      return {true, rule->text(), rule->exact(), rule->exact(), ""};
  }
  if (const Rule* rule = find(policy.rules(phase), host, port)) return {true, rule->text(), rule->exact(), false, ""};
  // What a server may reach while it runs says nothing of what its packages' scripts may.
  if (policy.mode == Mode::kPublic && phase == Phase::kRun) return {true, "public", false, false, ""};

  const Phase other = phase == Phase::kInstall ? Phase::kRun : Phase::kInstall;
  for (const Rule& rule : policy.rules(phase)) {
    if (rule.matches_host(host)) {
      decision.reason =
          fmt::format("the rule '{}' does not name port {}; {}", rule.text(), port, what_to_add(phase, host, port));
      return decision;
    }
  }
  if (const Rule* rule = find(policy.rules(other), host, port)) {
    decision.reason = fmt::format("the rule '{}' holds in the {} phase only; {}", rule->text(), phase_name(other),
                                  what_to_add(phase, host, port));
    return decision;
  }
  decision.reason = fmt::format("no rule names it; {}", what_to_add(phase, host, port));
  return decision;
}

}  // namespace mcpbox::egress
