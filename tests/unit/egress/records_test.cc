#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "base/secrets.h"
#include "egress/control/codec.h"
#include "egress/proxy/audit_log.h"
#include "egress/proxy/audit_reader.h"
#include "egress/rules/presets.h"
#include "support/temp_tree.h"

namespace mcpbox::egress {
namespace {

TEST(AuditLog, writes_one_escaped_line_per_record) {
  AuditRecord record{.event = "refuse", .server = "evil\n\x1b[31m\"", .host = "a.test", .port = 443, .reason = "no"};
  const std::string line = audit_line(record, 1763721600123);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_TRUE(line.starts_with("{\"time\":\"2025-11-21T10:40:00.123Z\",\"event\":\"refuse\",\"verdict\":\"refused\""))
      << line;
  const auto back = parse_audit_line(line);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->record.host, "a.test");
  EXPECT_EQ(back->record.port, 443);
}

TEST(AuditLog, has_no_secret_in_what_a_process_chose) {
  keep_secret(Secret("records-test-secret"));
  const std::string line = audit_line({.event = "refuse",
                                       .server = "records-test-secret",
                                       .host = "x.records-test-secret.evil.test",
                                       .port = 443,
                                       .reason = "no rule names x.records-test-secret.evil.test"},
                                      0);
  EXPECT_NE(line.find("\"server\":\"records-test-secret\""), std::string::npos) << "names of the operator's stay";
  EXPECT_NE(line.find("\"host\":\"x.***.evil.test\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"reason\":\"no rule names x.***.evil.test\""), std::string::npos) << line;
}

TEST(AuditLog, leaves_words_of_ours_in_reasons_that_name_no_secret_host) {
  keep_secret(Secret("memory"));
  EXPECT_NE(audit_line({.host = "x.test", .reason = "no memory"}, 0).find("\"reason\":\"no memory\""),
            std::string::npos);
  const std::string line = audit_line({.host = "memory.test", .reason = "no rule names memory.test"}, 0);
  EXPECT_EQ(line.find("memory"), std::string::npos) << line;
}

TEST(AuditLog, rotates_by_size_and_loses_the_oldest) {
  const test::TempTree tree;
  const AuditOptions options{.directory = tree.path("audit"), .name = "log", .max_bytes = 1000, .keep = 2};
  auto log = AuditLog::open(options);
  ASSERT_TRUE(log);
  for (int i = 0; i < 40; ++i)
    log->write(
        {.event = "open", .server = "s" + std::to_string(i), .host = "a.test", .port = static_cast<std::uint16_t>(i)});
  struct stat status{};
  ASSERT_EQ(::stat(tree.path("audit/log").c_str(), &status), 0);
  EXPECT_LE(status.st_size, 1000);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(::stat(tree.path("audit/log.3").c_str(), &status), -1);
  const auto lines = read_audit(options);
  ASSERT_GT(lines.size(), 6u);
  EXPECT_EQ(parse_audit_line(lines.back())->record.port, 39);
  for (std::size_t i = 1; i < lines.size(); ++i)
    EXPECT_EQ(parse_audit_line(lines[i])->record.port, parse_audit_line(lines[i - 1])->record.port + 1);
}

// Whoever takes all descriptors of the proxy would have its own lines rotated away, and nobody's written any more.
TEST(AuditLog, loses_no_line_while_no_file_can_be_opened) {
  const test::TempTree tree;
  const AuditOptions options{.directory = tree.path("audit"), .name = "log", .max_bytes = 1000, .keep = 2};
  auto log = AuditLog::open(options);
  ASSERT_TRUE(log);
  const auto write = [&](int from, int to) {
    for (int i = from; i < to; ++i) log->write({.event = "open", .server = "s" + std::to_string(i), .host = "a.test"});
  };
  write(0, 4);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  write(4, 40);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(read_audit(options).size(), 40u);
  write(40, 42);
  EXPECT_EQ(::access(tree.path("audit/log.1").c_str(), F_OK), 0);
}

TEST(Attack, refusals_of_one_server_do_not_rotate_the_lines_of_another_out_of_the_log) {
  const test::TempTree tree;
  const AuditOptions options{.directory = tree.path("audit"), .max_bytes = 64u << 10, .keep = 1};
  auto log = AuditLog::open(options);
  ASSERT_TRUE(log);
  log->write({.event = "open", .server = "quiet", .phase = "run", .host = "quiet.test", .port = 443});
  for (int i = 0; i < 5000; ++i) {
    log->write({.event = "refuse", .server = "loud", .phase = "run", .host = "evil.test", .port = 443});
    // Another host each time, and connections that are allowed, are no way around it.
    log->write({.event = "refuse", .server = "loud", .phase = "run", .host = fmt::format("e{}.test", i), .port = 443});
    log->write({.event = "close", .server = "loud", .phase = "run", .host = "ok.test", .port = 443, .bytes_up = 2});
  }
  log->write_counted(true);
  std::map<std::string, std::uint64_t> counts, lines;
  std::uint64_t bytes = 0;
  for (const std::string& line : read_audit(options)) {
    const AuditRecord r = parse_audit_line(line)->record;
    counts[r.server + " " + r.event] += r.count;
    ++lines[r.server];
    bytes += r.bytes_up;
  }
  EXPECT_EQ(lines["quiet"], 1u);
  EXPECT_EQ(counts["loud refuse"], 10000u) << "nothing is lost, only counted";
  EXPECT_EQ(counts["loud close"], 5000u);
  EXPECT_EQ(bytes, 10000u);
  EXPECT_LT(lines["loud"], 100u);
}

TEST(AuditLog, does_not_follow_a_link) {
  const test::TempTree tree;
  tree.dir("audit");
  tree.link("audit/log", tree.file("victim"));
  EXPECT_FALSE(AuditLog::open({.directory = tree.path("audit"), .name = "log"}));
}

TEST(Suggest, lists_what_a_policy_would_need) {
  std::vector<std::string> lines;
  const auto add = [&](AuditRecord record) { lines.push_back(audit_line(record, 0)); };
  add({.event = "open", .server = "s", .phase = "run", .host = "api.test", .port = 443, .rule = "api.test"});
  add({.event = "refuse", .server = "s", .phase = "run", .host = "new.test", .port = 8443, .reason = "no rule"});
  add({.event = "refuse",
       .server = "s",
       .phase = "run",
       .host = "db.test",
       .port = 443,
       .rule = "db.test",
       .reason = "private"});
  add({.event = "refuse", .server = "s", .phase = "install", .host = "pypi.org", .port = 443});
  add({.event = "refuse", .server = "other", .phase = "run", .host = "other.test", .port = 443});
  add({.event = "refuse", .host = "nobody.test", .port = 443});
  lines.push_back("half a li");
  const Suggestion got = suggest(lines, "s");
  EXPECT_EQ(got.allow, (std::vector<std::string>{"api.test", "new.test:8443"}));
  EXPECT_EQ(got.install_allow, (std::vector<std::string>{"pypi.org"}));
}

TEST(Suggest, names_private_addresses_and_what_nothing_opens) {
  std::vector<std::string> lines;
  const auto refused = [&](std::string host, std::uint16_t port, std::string rule, std::string reason) {
    lines.push_back(audit_line({.event = "refuse",
                                .server = "s",
                                .phase = "run",
                                .host = std::move(host),
                                .port = port,
                                .rule = std::move(rule),
                                .reason = std::move(reason)},
                               0));
  };
  refused("db.test", 5432, "*.test", "10.1.2.3 is a private address; if servers shall reach it, add …");
  refused("192.168.0.7", 443, "", "no rule names it");
  refused("::ffff:192.168.0.8", 443, "", "no rule names it");
  refused("169.254.169.254", 80, "", "no rule names it");
  refused("meta.test", 80, "meta.test", "169.254.169.254 is a metadata address, which is never allowed");
  refused("8.8.8.8", 443, "", "no rule names it");
  refused("front.test", 443, "front.test", "it asks for another server name");
  const Suggestion got = suggest(lines, "s");
  EXPECT_EQ(got.allow, (std::vector<std::string>{"192.168.0.7", "8.8.8.8", "[::ffff:192.168.0.8]", "db.test:5432"}));
  EXPECT_EQ(got.allow_private, (std::vector<std::string>{"10.1.2.3", "192.168.0.7", "192.168.0.8"}));
  EXPECT_EQ(got.never, (std::vector<std::string>{"169.254.169.254", "meta.test (169.254.169.254)"}));
}

SettingsReader reader(std::map<std::string, std::string> environment, std::map<std::string, std::string> files) {
  return {
      [environment](const std::string& name) {
        return environment.contains(name) ? std::optional(environment.at(name)) : std::nullopt;
      },
      [files](const std::string& path) { return files.contains(path) ? std::optional(files.at(path)) : std::nullopt; },
      "/home/u"};
}

using Texts = std::vector<std::string>;

TEST(Presets, are_the_public_registries_without_settings) {
  const auto none = reader({}, {});
  EXPECT_EQ(*preset_rules("pypi", none), (Texts{"pypi.org", "files.pythonhosted.org"}));
  EXPECT_EQ(*preset_rules("npm", none), Texts{"registry.npmjs.org"});
  EXPECT_EQ(*preset_rules("go", none), (Texts{"proxy.golang.org", "sum.golang.org"}));
  EXPECT_FALSE(preset_rules("gems", none));
  for (const char* preset : {"pypi", "npm", "debian", "crates", "go"})
    EXPECT_TRUE(parse_rules(*preset_rules(preset, none))) << preset;
}

TEST(Presets, follow_mirrors) {
  EXPECT_EQ(*preset_rules("pypi", reader({{"PIP_INDEX_URL", "https://user:pw@mirror.corp:8443/simple/"}}, {})),
            Texts{"mirror.corp:8443"});
  EXPECT_EQ(
      *preset_rules(
          "pypi",
          reader({}, {{"/home/u/.config/pip/pip.conf",
                       "[global]\nindex-url = https://one.corp/simple\nextra-index-url =\n    https://two.corp/x\n"}})),
      (Texts{"one.corp", "two.corp"}));
  EXPECT_EQ(*preset_rules("pypi", reader({}, {{"/home/u/.config/uv/uv.toml",
                                               "[[index]]\nurl = \"https://uv.corp/simple\"\ndefault = true\n"}})),
            Texts{"uv.corp"});
  EXPECT_EQ(*preset_rules("pypi", reader({{"UV_EXTRA_INDEX_URL", "https://more.corp/simple"}}, {})),
            (Texts{"more.corp", "pypi.org", "files.pythonhosted.org"}));
  EXPECT_EQ(
      *preset_rules(
          "npm",
          reader({},
                 {{"/home/u/.npmrc",
                   "registry=https://npm.corp/\n@x:registry=https://scoped.corp/\n//npm.corp/:_authToken=s3cret\n"}})),
      (Texts{"npm.corp", "scoped.corp"}));
  EXPECT_EQ(*preset_rules("go", reader({{"GOPROXY", "https://go.corp,direct"}}, {})), Texts{"go.corp"});
  EXPECT_EQ(*preset_rules("npm", reader({{"npm_config_registry", "not a url"}}, {})), Texts{"registry.npmjs.org"});
  const auto npm_of = [](std::string_view url) {
    return *preset_rules("npm", reader({{"npm_config_registry", std::string(url)}}, {}));
  };
  EXPECT_EQ(npm_of("HTTPS://me@corp.com:p%40@Npm.Corp/x"), Texts{"npm.corp"});
  EXPECT_EQ(npm_of("http://[2001:db8::1]:4873/"), Texts{"[2001:db8::1]:4873"});
  for (const char* odd : {"ftp://npm.corp/", "https://2130706433/", "https://npm.corp:0/", "https://npm.corp:99999/",
                          "https://npm.corp\\@other.test/", "https://npm%2ecorp/", "https:///x"}) {
    EXPECT_EQ(npm_of(odd), Texts{"registry.npmjs.org"}) << odd;
  }
  EXPECT_EQ(*expand_presets({"npm", "x.test"}, reader({}, {})), (Texts{"registry.npmjs.org", "x.test"}));
}

RegistrationText registration() {
  return {.process = "p1",
          .server = "s",
          .uid = 1900000001,
          .sandbox = "mcpbox-1",
          .token_sha256 = sha256_hex("t"),
          .phase = "run",
          .policy = {"allowlist", {"a.test"}, {}}};
}

TEST(Presets, say_as_variables_what_files_say_and_the_users_own_variables_win) {
  using Variables = std::map<std::string, std::string>;
  EXPECT_EQ(registry_variables(reader({}, {})), Variables{});
  EXPECT_EQ(registry_variables(reader({}, {{"/home/u/.config/pip/pip.conf",
                                            "[global]\nindex-url = https://one.corp/simple\nextra-index-url =\n    "
                                            "https://two.corp/x\n    https://three.corp/x\n"}})),
            (Variables{{"PIP_INDEX_URL", "https://one.corp/simple"},
                       {"PIP_EXTRA_INDEX_URL", "https://two.corp/x https://three.corp/x"},
                       {"UV_DEFAULT_INDEX", "https://one.corp/simple"},
                       {"UV_INDEX", "https://two.corp/x https://three.corp/x"}}));
  EXPECT_EQ(registry_variables(reader({{"PIP_INDEX_URL", "https://mine.corp"}},
                                      {{"/etc/pip.conf", "[global]\nindex-url = https://one.corp/simple\n"}})),
            (Variables{{"PIP_INDEX_URL", "https://mine.corp"}, {"UV_DEFAULT_INDEX", "https://mine.corp"}}));
  EXPECT_EQ(registry_variables(reader(
                {}, {{"/home/u/.config/uv/uv.toml",
                      "[[index]]\nurl = \"https://a.corp\"\n[[index]]\nurl = \"https://b.corp\"\ndefault = true\n"}})),
            (Variables{{"UV_DEFAULT_INDEX", "https://b.corp"}, {"UV_INDEX", "https://a.corp"}}));
  EXPECT_EQ(registry_variables(reader(
                {}, {{"/home/u/.npmrc",
                      "registry=https://n.corp/\n@own:registry=https://o.corp/\n//n.corp/:_authToken=secret\n"}})),
            (Variables{{"npm_config_registry", "https://n.corp/"}, {"npm_config_@own:registry", "https://o.corp/"}}));
}

TEST(Control, carries_a_registration) {
  auto command = parse_control(register_line(registration()));
  ASSERT_TRUE(command) << command.error().message();
  const Registration& got = std::get<RegisterCommand>(*command).registration;
  EXPECT_EQ(got.uid, 1900000001u);
  EXPECT_EQ(got.sandbox, "mcpbox-1");
  EXPECT_TRUE(decide(got.policy, got.phase, *parse_host("a.test"), 443).allowed);
}

TEST(Egress, case_51_an_unreadable_policy_registers_nothing) {
  for (const char* policy : {"", ",\"policy\":null", ",\"policy\":{}", ",\"policy\":{\"mode\":\"all\"}",
                             ",\"policy\":{\"mode\":\"allowlist\",\"allow\":\"a.test\"}",
                             ",\"policy\":{\"mode\":\"allowlist\",\"allow\":[\"*\"]}",
                             ",\"policy\":{\"mode\":\"allowlist\",\"allow\":[1]}"}) {
    EXPECT_FALSE(parse_control(
        "{\"op\":\"register\",\"process\":\"p\",\"server\":\"s\",\"uid\":1,\"phase\":\"run\",\"token_sha256\":\"" +
        sha256_hex("t") + "\"" + policy + "}"))
        << policy;
  }
}

TEST(Control, reports_errors_with_their_code) {
  EXPECT_TRUE(parse_control_answer(control_ok()));
  const auto answer = parse_control_answer(control_error(Error(Code::kNotFound, "x \"y\"")));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kNotFound);
  EXPECT_EQ(answer.error().message(), "x \"y\"");
}

TEST(Egress, case_54_credential_and_uid_must_both_fit) {
  Registry registry;
  for (const uid_t uid : {1001u, 1002u}) {
    ASSERT_TRUE(registry.add({.process = "p" + std::to_string(uid),
                              .server = "s",
                              .uid = uid,
                              .token_sha256 = sha256_hex("token" + std::to_string(uid))}));
  }
  EXPECT_TRUE(registry.authenticate(basic_credential("p1001", "token1001"), 1001));
  EXPECT_FALSE(registry.authenticate(basic_credential("p1001", "token1001"), 1002)) << "another process's credential";
  EXPECT_FALSE(registry.authenticate(basic_credential("p1001", "token1002"), 1001));
  EXPECT_FALSE(registry.authenticate(basic_credential("p1001", ""), 1001));
  EXPECT_FALSE(registry.authenticate(basic_credential("p9", "token1001"), 1001));
  EXPECT_FALSE(registry.authenticate("Bearer token1001", 1001));
  // One owner's folders, mounted for two servers, and every sandbox with a single id.
  for (const char* sandbox : {"one", "two"}) {
    ASSERT_TRUE(registry.add({.process = std::string("owner-") + sandbox,
                              .server = "s",
                              .uid = 1000,
                              .sandbox = sandbox,
                              .token_sha256 = sha256_hex(sandbox)}));
  }
  EXPECT_TRUE(registry.authenticate(basic_credential("owner-one", "one"), 1000, "one"));
  EXPECT_FALSE(registry.authenticate(basic_credential("owner-one", "one"), 1000, "two")) << "from another sandbox";
  EXPECT_FALSE(registry.authenticate(basic_credential("owner-one", "one"), 1000));
  EXPECT_FALSE(registry.authenticate(basic_credential("p1001", "token1001"), 1001, "one"));
  EXPECT_TRUE(registry.remove("p1001"));
  EXPECT_FALSE(registry.authenticate(basic_credential("p1001", "token1001"), 1001));
}

}  // namespace
}  // namespace mcpbox::egress
