#include "provision/install/env_record.h"

#include <gmock/gmock.h>

#include "provision/install/env_resolved.h"
#include "provision/install/env_shelf.h"

namespace mcpbox::provision {
namespace {

using testing::ElementsAre;

TEST(EnvRecord, comes_back_as_it_was_written) {
  EnvRecord record;
  record.hash = std::string(32, 'a');
  record.asked_hash = std::string(32, 'b');
  record.program = "/cache/env/x/env/node_modules/y/index.js";
  record.manager = "npm";
  record.asked = {"y"};
  record.resolved = {"y@1.2", "z@3"};
  record.packages = 40;
  record.steps = {"install y with npm"};
  record.server = "mine \"quoted\"";
  record.image = "sha256:1";
  record.engine = "docker";
  record.made = 1'795'000'000;
  record.took_ms = 1200;
  record.bytes = 1u << 20;
  const EnvRecord back = parse_env_record(record.hash, to_json(record)).value();
  EXPECT_EQ(to_json(back), to_json(record));
  EXPECT_EQ(back.server, record.server);
  EXPECT_EQ(packages_in_short(back, 1), "y@1.2 and 39 more");
}

TEST(EnvRecord, stays_within_what_is_read_back) {
  EnvRecord record;
  for (int i = 0; i < 20'000; ++i) record.resolved.push_back("package-" + std::to_string(i) + "@1.0.0");
  record.asked.assign(5000, "a-rather-long-name");
  record.steps.assign(5000, std::string(200, 's'));
  record.packages = record.resolved.size();
  const std::string text = to_json(record);
  EXPECT_LE(text.size(), kEnvRecordLimit);
  EXPECT_EQ(parse_env_record("x", text).value().packages, 20'000u);
}

TEST(EnvRecord, reads_the_records_of_before_and_refuses_what_is_none) {
  const EnvRecord old = parse_env_record("h", R"({"program":"","manager":"uv","server":"s","steps":["a"]})").value();
  EXPECT_EQ(old.asked_hash, "h");
  EXPECT_EQ(old.bytes, 0u);
  for (const char* text : {"", "{}", "[]", "{\"program\":1}", "{\"program\":\"x\""})
    EXPECT_FALSE(parse_env_record("h", text)) << text;
}

TEST(Resolved, names_of_distributions) {
  EXPECT_EQ(python_distribution_of("pydantic_core-2.41.4.dist-info"), "pydantic-core==2.41.4");
  EXPECT_EQ(python_distribution_of("Jinja2-3.1.6.dist-info"), "jinja2==3.1.6");
  EXPECT_EQ(python_distribution_of("torch-2.1.0+cpu.dist-info"), "torch==2.1.0+cpu");
  for (const char* other :
       {"mcp", "__pycache__", ".dist-info", "x.dist-info", "a\x1b-1.dist-info", "-1.dist-info", "x-1.egg-info"}) {
    EXPECT_EQ(python_distribution_of(other), "") << other;
  }
}

TEST(Resolved, names_of_npm_and_pnpm_packages) {
  EXPECT_THAT(npm_packages_of(R"({"packages":{"":{"version":"0"},"node_modules/@a/b":{"version":"1.0.0"},)"
                              R"("node_modules/@a/b/node_modules/c":{"version":"2.0.0-rc.1"},
    "node_modules/bad":{"version":"1\u001b"},"node_modules/none":{},"../up":{"version":"1"}}})"),
              ElementsAre("@a/b@1.0.0", "c@2.0.0-rc.1"));
  EXPECT_TRUE(npm_packages_of("{").empty());
  EXPECT_TRUE(npm_packages_of("[1]").empty());
  EXPECT_EQ(pnpm_package_of("@modelcontextprotocol+sdk@1.2.3_zod@3.0.0"), "@modelcontextprotocol/sdk@1.2.3");
  EXPECT_EQ(pnpm_package_of("left-pad@1.3.0"), "left-pad@1.3.0");
  EXPECT_EQ(pnpm_package_of("use-sync@1.0.0(react@18.0.0)"), "use-sync@1.0.0");
  for (const char* other : {"node_modules", "lock.yaml", "@scope", "@@", "a@"})
    EXPECT_EQ(pnpm_package_of(other), "") << other;
}

EnvEntry entry(char name, std::uint64_t bytes, bool in_use = false, bool complete = true) {
  EnvEntry one;
  one.record.hash = std::string(32, name);
  one.record.bytes = bytes;
  one.in_use = in_use;
  one.complete = complete;
  return one;
}

std::string names(const std::vector<EnvEntry>& entries) {
  std::string out;
  for (const EnvEntry& one : entries) out += one.record.hash[0];
  return out;
}

TEST(Quota, takes_what_was_not_used_for_longest_until_the_rest_fits) {
  const std::vector<EnvEntry> shelf{entry('a', 10), entry('b', 10), entry('c', 10), entry('d', 10)};
  const std::string none(32, 'x');
  EXPECT_EQ(names(over_quota(shelf, 40, none)), "");
  EXPECT_EQ(names(over_quota(shelf, 39, none)), "d");
  EXPECT_EQ(names(over_quota(shelf, 30, none)), "d");
  EXPECT_EQ(names(over_quota(shelf, 29, none)), "dc");
  EXPECT_EQ(names(over_quota(shelf, 1, none)), "dcba");
}

TEST(Quota, never_takes_what_is_in_use_or_was_just_made) {
  const std::vector<EnvEntry> shelf{entry('a', 10), entry('b', 10, true), entry('c', 10, false, false), entry('d', 10)};
  EXPECT_EQ(names(over_quota(shelf, 1, std::string(32, 'd'))), "a");
}

}  // namespace
}  // namespace mcpbox::provision
