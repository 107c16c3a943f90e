#include "provision/install/refused_hosts.h"

#include <gtest/gtest.h>

#include "egress/proxy/audit_log.h"
#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using std::chrono::system_clock;
using Hosts = std::vector<std::string>;

TEST(RefusedHosts, are_those_of_one_installation_and_of_this_attempt) {
  const test::TempTree tree;
  std::string log;
  const auto add = [&](egress::AuditRecord record, std::int64_t milliseconds) {
    record.phase = "install";
    record.port = 443;
    log += egress::audit_line(record, milliseconds);
  };
  add({.event = "refuse", .process = "install-1", .host = "before.test"}, 1'700'000'000'122);
  add({.event = "refuse", .process = "install-1", .host = "github.com"}, 1'700'000'000'123);
  add({.event = "open", .process = "install-1", .host = "registry.npmjs.org"}, 1'700'000'001'000);
  add({.event = "refuse", .process = "install-2", .host = "other.test"}, 1'700'000'001'000);
  add({.event = "refuse", .process = "install-1", .host = "codeload.github.com"}, 1'700'000'002'000);
  tree.file("egress.jsonl", log + "half a li");
  const auto since = system_clock::time_point(std::chrono::milliseconds(1'700'000'000'123));
  EXPECT_EQ(refused_hosts(tree.root(), "install-1", since), (Hosts{"codeload.github.com", "github.com"}));
  EXPECT_EQ(refused_hosts(tree.root(), "install-3", since), Hosts{});
  EXPECT_EQ(refused_hosts(tree.path("nowhere"), "install-1", since), Hosts{});
}

}  // namespace
}  // namespace mcpbox::provision
