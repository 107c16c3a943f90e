#include "egress/rules/closed_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/said_to_options.h"

namespace mcpbox::egress {
namespace {

using testing::HasSubstr;

std::string why(const std::string& rule, const std::vector<std::string>& allow_private = {},
                const std::map<std::string, std::string>& hosts = {}) {
  const auto closed = closed_rules({"api.example.com", rule}, allow_private, hosts);
  if (closed.empty()) return "";
  EXPECT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].rule, rule);
  return closed[0].why;
}

TEST(ClosedRules, public_hosts_names_presets_and_wildcards_are_open) {
  EXPECT_TRUE(closed_rules({"api.example.com:8443", "8.8.8.8", "[2606:4700::1111]", "npm", "*.example.com",
                            "localhost.example.com", "https://x"},
                           {})
                  .empty());
}

TEST(ClosedRules, an_address_that_is_not_public_is_closed_until_a_range_covers_it) {
  for (const char* rule : {"10.0.0.1", "192.168.1.5:8080", "[fd00::1]", "100.64.0.1", "169.254.1.1"})
    EXPECT_THAT(why(rule), HasSubstr("`egress.allow_private: [")) << rule;
  EXPECT_THAT(why("10.0.0.1"), HasSubstr("10.0.0.1 is a private address"));
  EXPECT_THAT(why("10.0.0.1"), HasSubstr("`egress.allow_private: [10.0.0.1]`"));
  {
    const test::SaidToOptions said;
    EXPECT_THAT(why("10.0.0.1"), HasSubstr("run with `--allow-private 10.0.0.1`"));
  }
  EXPECT_EQ(why("10.0.0.1", {"10.0.0.0/8"}), "");
  EXPECT_EQ(why("10.0.0.1:5432", {"10.0.0.1"}), "");
  EXPECT_NE(why("10.0.0.1", {"10.0.1.0/24"}), "");
  EXPECT_EQ(why("127.0.0.1", {"127.0.0.1"}), "");
}

TEST(ClosedRules, loopback_needs_a_name) {
  for (const char* rule : {"localhost", "LOCALHOST:8080", "api.localhost", "127.0.0.1:11434", "[::1]"})
    EXPECT_THAT(why(rule), HasSubstr("hosts: {NAME: 127.0.0.1}")) << rule;
  EXPECT_EQ(why("localhost", {"127.0.0.0/8"}), "");
}

TEST(ClosedRules, metadata_services_are_never_open) {
  EXPECT_THAT(why("169.254.169.254"), HasSubstr("is a cloud metadata address, which is never allowed"));
  EXPECT_THAT(why("169.254.169.254", {"169.254.0.0/16"}), HasSubstr("never allowed"));
}

TEST(ClosedRules, a_name_with_a_private_address_of_ours_is_closed_until_a_range_covers_it) {
  const std::map<std::string, std::string> hosts{{"db.lan", "10.1.2.3"}, {"pub.lan", "8.8.8.8"}};
  EXPECT_THAT(why("DB.lan:5432", {}, hosts), HasSubstr("db.lan is 10.1.2.3, a private address"));
  EXPECT_EQ(why("db.lan:5432", {"10.1.2.3"}, hosts), "");
  EXPECT_EQ(why("pub.lan", {}, hosts), "");
}

}  // namespace
}  // namespace mcpbox::egress
