#include "app/verbs/config_verbs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "support/temp_tree.h"

namespace mcpbox::app {
namespace {

using testing::HasSubstr;

struct ConfigVerbsTest : testing::Test {
  test::TempTree tree;

  // The problems of what reads well, as "line:column: what".
  std::vector<std::string> problems(const std::string& text) {
    const auto settings = config::parse("version: 1\n" + text, tree.path("mcpbox.yaml"));
    if (!settings) {
      ADD_FAILURE() << settings.error().front().text();
      return {};
    }
    std::vector<std::string> out;
    for (const config::Problem& problem : plan_problems(*settings)) {
      EXPECT_EQ(problem.file, tree.path("mcpbox.yaml"));
      out.push_back(std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " + problem.what);
    }
    return out;
  }
};

TEST_F(ConfigVerbsTest, a_configuration_whose_servers_start_has_no_problem) {
  tree.dir("proj");
  EXPECT_TRUE(problems("workspace: {allowed_roots: [proj]}\n"
                       "servers:\n"
                       "  a: {command: npx, args: [x, " +
                       tree.path("proj") +
                       "]}\n"
                       "  b: {command: uvx, args: [y]}\n")
                  .empty());
}

TEST_F(ConfigVerbsTest, what_the_planner_refuses_is_told_where_it_stands) {
  for (const char* name : {"in/a", "out/b", "out/c", "out/d"}) tree.dir(name);
  const auto found = problems(
      "workspace: {allowed_roots: [in]}\n"
      "servers:\n"
      "  a:\n"
      "    command: npx\n"
      "    args: [x, " +
      tree.path("out/b") +
      "]\n"
      "    cwd: out/c\n"
      "    box:\n"
      "      mounts:\n"
      "        - out/d\n"
      "        - in/a\n");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_THAT(found[0], HasSubstr("6:15: servers.a: '" + tree.path("out/b") + "': it lies in none of the allowed"));
  EXPECT_THAT(found[1], HasSubstr("7:10: servers.a: '" + tree.path("out/c") + "'"));
  EXPECT_THAT(found[2], HasSubstr("10:11: servers.a: '" + tree.path("out/d") + "'"));
}

TEST_F(ConfigVerbsTest, places_that_are_never_given_are_told_although_a_root_allows_them) {
  const auto found = problems(
      "workspace: {allowed_roots: [/, /etc]}\n"
      "servers:\n"
      "  a: {command: x, box: {host_path: /}}\n"
      "  b: {command: x, box: {mounts: [/etc]}}\n");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_THAT(found[0], HasSubstr("2:32: workspace.allowed_roots: '/etc': this is a part of the system"));
  EXPECT_THAT(found[1], HasSubstr("4:36: servers.a: '/': this is the whole file system"));
  EXPECT_THAT(found[2], HasSubstr("5:34: servers.b: '/etc'"));
}

TEST_F(ConfigVerbsTest, a_folder_that_no_user_may_write_to_is_told) {
  tree.dir("data");
  ASSERT_EQ(::chown(tree.path("data").c_str(), 0, 0), 0) << "run the tests as root";
  const auto found = problems(
      "workspace: {allowed_roots: [data]}\n"
      "servers:\n"
      "  a: {command: x, box: {mounts: [\"data:rw\"]}}\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0], HasSubstr("4:34: servers.a: " + tree.path("data") + " belongs to user 0 and group 0"));
}

TEST_F(ConfigVerbsTest, what_a_reference_gave_is_in_no_problem) {
  ::setenv("MCPBOX_TEST_SECRET", tree.dir("s3cret").c_str(), 1);
  const auto found = problems("servers: {a: {command: npx, args: [x, \"${env:MCPBOX_TEST_SECRET}\"]}}\n");
  ::unsetenv("MCPBOX_TEST_SECRET");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0], testing::Not(HasSubstr("s3cret")));
  EXPECT_THAT(found[0], HasSubstr("2:39: "));
}

}  // namespace
}  // namespace mcpbox::app
