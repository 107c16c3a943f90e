#include "egress/rules/policy.h"

#include <gtest/gtest.h>

#include "support/said_to_options.h"

namespace mcpbox::egress {
namespace {

Policy allow(std::vector<std::string> run, std::vector<std::string> install = {}) {
  Policy policy;
  policy.mode = Mode::kAllowlist;
  policy.allow = *parse_rules(run);
  policy.install_allow = *parse_rules(install);
  return policy;
}

bool allowed(const Policy& policy, std::string_view host, std::uint16_t port = 443, Phase phase = Phase::kRun) {
  const auto parsed = parse_host(host);
  return parsed && decide(policy, phase, *parsed, port).allowed;
}

TEST(Egress, case_49_allow_matches_labels_only) {
  const Policy exact = allow({"a.test"});
  EXPECT_TRUE(allowed(exact, "a.test"));
  EXPECT_TRUE(allowed(exact, "A.TEST."));
  for (const char* host : {"a.test.evil", "eviala.test", "b.a.test", "test", "a.tes", "a.test.a", "xa.test", "a-test"})
    EXPECT_FALSE(allowed(exact, host)) << host;

  const Policy below = allow({"*.a.test"});
  EXPECT_TRUE(allowed(below, "b.a.test"));
  EXPECT_TRUE(allowed(below, "c.B.a.test."));
  for (const char* host : {"a.test", "eviala.test", "b.a.test.evil", "ba.test"})
    EXPECT_FALSE(allowed(below, host)) << host;
}

TEST(Egress, case_50_ports_are_443_and_80_unless_named) {
  EXPECT_TRUE(allowed(allow({"a.test"}), "a.test", 80));
  EXPECT_FALSE(allowed(allow({"a.test"}), "a.test", 22));
  EXPECT_TRUE(allowed(allow({"a.test:8443,9000"}), "a.test", 9000));
  EXPECT_FALSE(allowed(allow({"a.test:8443"}), "a.test", 443));
}

TEST(Egress, case_51_an_empty_or_missing_policy_denies_all) {
  EXPECT_FALSE(allowed(Policy{}, "a.test"));
  EXPECT_FALSE(allowed(allow({}), "a.test"));
  Policy none = allow({"a.test"});
  none.mode = Mode::kNone;
  EXPECT_FALSE(allowed(none, "a.test"));
}

TEST(Egress, case_58_phases_do_not_share_their_hosts) {
  const Policy policy = allow({"api.test"}, {"registry.test"});
  EXPECT_TRUE(allowed(policy, "api.test", 443, Phase::kRun));
  EXPECT_FALSE(allowed(policy, "api.test", 443, Phase::kInstall));
  EXPECT_TRUE(allowed(policy, "registry.test", 443, Phase::kInstall));
  EXPECT_FALSE(allowed(policy, "registry.test", 443, Phase::kRun));
  EXPECT_NE(decide(policy, Phase::kRun, *parse_host("registry.test"), 443).reason.find("install phase only"),
            std::string::npos);
}

TEST(Policy, says_what_to_add) {
  const Decision decision = decide(allow({"a.test"}), Phase::kRun, *parse_host("b.test"), 8443);
  EXPECT_NE(decision.reason.find("add `box.network.allow: [b.test:8443]`"), std::string::npos) << decision.reason;
  EXPECT_EQ(decision.reason.find("--"), std::string::npos) << decision.reason;
  EXPECT_NE(decide(allow({}), Phase::kInstall, *parse_host("b.test"), 443).reason.find("install_allow: [b.test]"),
            std::string::npos);
  EXPECT_NE(decide(allow({"a.test"}), Phase::kRun, *parse_host("a.test"), 22).reason.find("does not name port 22"),
            std::string::npos);
}

TEST(Policy, says_to_who_typed_options_which_one_to_add) {
  const test::SaidToOptions said;
  const auto reason = [](Phase phase, Policy policy = allow({"a.test"})) {
    return decide(policy, phase, *parse_host("b.test"), 8443).reason;
  };
  EXPECT_TRUE(reason(Phase::kRun).ends_with("run with `--allow b.test:8443`")) << reason(Phase::kRun);
  EXPECT_TRUE(reason(Phase::kInstall).ends_with("run with `--install-allow b.test:8443`")) << reason(Phase::kInstall);
  Policy none;
  none.mode = Mode::kNone;
  EXPECT_EQ(reason(Phase::kRun, none).find("box."), std::string::npos) << reason(Phase::kRun, none);
}

TEST(Policy, of_an_address_that_no_rule_opens_it_advises_none) {
  Policy none = allow({});
  none.mode = Mode::kNone;
  Policy open = allow({});
  open.mode = Mode::kPublic;
  for (const Policy& policy : {none, allow({}), allow({"169.254.169.254"}), open}) {
    for (const Phase phase : {Phase::kRun, Phase::kInstall}) {
      const Decision decision = decide(policy, phase, *parse_host("169.254.169.254"), 80);
      EXPECT_FALSE(decision.allowed);
      EXPECT_EQ(decision.reason, "169.254.169.254 is a cloud metadata address, which is never allowed");
    }
  }
}

TEST(Policy, public_mode_names_only_what_a_rule_names) {
  Policy policy = allow({"db.lan"});
  policy.mode = Mode::kPublic;
  EXPECT_FALSE(decide(policy, Phase::kRun, *parse_host("anything.test"), 443).named);
  EXPECT_TRUE(decide(policy, Phase::kRun, *parse_host("anything.test"), 443).allowed);
  EXPECT_TRUE(decide(policy, Phase::kRun, *parse_host("db.lan"), 443).named);
}

TEST(Policy, public_mode_opens_nothing_to_the_install_phase) {
  Policy policy;
  policy.mode = Mode::kPublic;
  policy.registries = *parse_rules({"registry.test"});
  policy.install_allow = *parse_rules({"git.test"});
  EXPECT_TRUE(allowed(policy, "registry.test", 443, Phase::kInstall));
  EXPECT_TRUE(allowed(policy, "git.test", 443, Phase::kInstall));
  EXPECT_FALSE(allowed(policy, "anything.test", 443, Phase::kInstall));
  EXPECT_FALSE(allowed(policy, "8.8.8.8", 443, Phase::kInstall));
  EXPECT_NE(decide(policy, Phase::kInstall, *parse_host("anything.test"), 443).reason.find("install_allow"),
            std::string::npos);
}

TEST(Policy, an_exact_rule_wins_over_a_wildcard) {
  EXPECT_TRUE(decide(allow({"*.lan.test", "db.lan.test"}), Phase::kRun, *parse_host("db.lan.test"), 443).named);
}

TEST(Policy, a_wildcard_does_not_name_a_destination) {
  EXPECT_FALSE(decide(allow({"*.lan.test"}), Phase::kRun, *parse_host("db.lan.test"), 443).named);
}

TEST(Rule, refuses_what_would_allow_too_much_or_nothing) {
  for (const char* text : {"*",
                           "*.com",
                           "*.*.com",
                           "a.*.com",
                           "a*.test.com",
                           "*a.test.com",
                           "",
                           "https://a.test",
                           "a.test/x",
                           "a.test:*",
                           "a.test:",
                           "a.test:0",
                           "a.test:65536",
                           "a.test:+1",
                           "user@a.test",
                           "a..test",
                           "*.10.0.0.1",
                           "::1",
                           "[::1",
                           "a b.test",
                           "ä.test"}) {
    EXPECT_FALSE(Rule::parse(text)) << text;
  }
}

TEST(Rule, takes_literals_when_they_are_listed) {
  EXPECT_TRUE(allowed(allow({"10.0.0.7:5432"}), "10.0.0.7", 5432));
  EXPECT_TRUE(allowed(allow({"[2001:DB8::1]:443"}), "[2001:db8:0::1]"));
  EXPECT_FALSE(allowed(allow({"10.0.0.7"}), "10.0.0.70"));
  EXPECT_FALSE(allowed(allow({"*.0.0.test"}), "10.0.0.7"));
}

TEST(HostName, refuses_addresses_in_other_spellings) {
  for (const char* text :
       {"127.1", "0x7f000001", "0x7f.0.0.1", "017700000001", "2130706433", "0177.0.0.1", "127.0.0.0x1", "1.2.3",
        "1.2.3.4.5", "127.0.0.1.1", "a.1", "a.0x", "256.1.1.1", "01.2.3.4", "[::1%eth0]", "[127.0.0.1]", "::1"}) {
    EXPECT_FALSE(parse_host(text)) << text;
  }
}

TEST(HostName, refuses_what_is_no_name) {
  for (const std::string& text :
       {std::string(), std::string("."), std::string(".a"), std::string("a.."), std::string("a\0b", 3),
        std::string("a\nb"), std::string("a b"), std::string("u@a.test"), std::string("a_b.test"),
        std::string("-a.test"), std::string("a-.test"),
        std::string("b\xc3\xbc"
                    "cher.test"),
        std::string(64, 'a') + ".test", std::string("a%2etest")}) {
    EXPECT_FALSE(parse_host(text)) << text;
  }
  std::string longest = "a";
  while (longest.size() < 253) longest = "a." + longest;
  EXPECT_TRUE(parse_host(longest));
  EXPECT_FALSE(parse_host("a." + longest));
}

TEST(HostName, has_one_spelling) {
  EXPECT_EQ(parse_host("API.Example.COM.")->name, "api.example.com");
  EXPECT_EQ(parse_host("xn--bcher-kva.test")->name, "xn--bcher-kva.test");
  EXPECT_EQ(parse_host("[2001:0DB8::0001]")->authority(), "[2001:db8::1]");
  EXPECT_EQ(parse_host("8.8.8.8")->name, "8.8.8.8");
}

TEST(Policy, opens_registries_in_the_install_phase_only) {
  Policy policy;
  policy.mode = Mode::kAllowlist;
  policy.registries = *parse_rules({"pypi.org"});
  policy.install_allow = *parse_rules({"git.test"});
  const Decision install = decide(policy, Phase::kInstall, *parse_host("pypi.org"), 443);
  EXPECT_TRUE(install.allowed);
  EXPECT_TRUE(install.registry);
  EXPECT_FALSE(decide(policy, Phase::kRun, *parse_host("pypi.org"), 443).allowed);
  const Decision other = decide(policy, Phase::kInstall, *parse_host("git.test"), 443);
  EXPECT_TRUE(other.allowed);
  EXPECT_FALSE(other.registry) << "what a configuration adds is judged strictly";
  policy.mode = Mode::kNone;
  EXPECT_FALSE(decide(policy, Phase::kInstall, *parse_host("pypi.org"), 443).allowed);
}

}  // namespace
}  // namespace mcpbox::egress
