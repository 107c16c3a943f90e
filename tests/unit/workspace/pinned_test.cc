#include "workspace/pinned.h"

#include <gtest/gtest.h>

#include "support/temp_tree.h"
#include "workspace/plan.h"

namespace mcpbox::workspace {
namespace {

TEST(Pinned, requirements_that_one_version_satisfies) {
  for (const char* exact : {"mcp==1.2.3", "mcp[cli] == 1.2.3 ; python_version < '4'", "a===1.0+local", "a (==1.0)",
                            "a==1!2.0.post1 --hash=sha256:00", "a @ https://x.org/a-1-py3-none-any.whl#sha256=00",
                            "a @ git+https://x.org/a@0123456789abcdef0123456789abcdef01234567",
                            "a@https://x.org/a.whl#egg=a&sha256=00 ; python_version < '4'",
                            "git+ssh://git@x.org/a@0123456789abcdef0123456789abcdef01234567#egg=a"}) {
    EXPECT_TRUE(is_exact_requirement(exact)) << exact;
  }
  for (const char* loose : {"mcp", "mcp>=1", "mcp==1.*", "mcp~=1.2", "mcp>=1,==1.2", "mcp==1.2,<2", "==1",
                            "a @ https://x.org/a.whl", "a @ git+https://x.org/a@main",
                            // A hash that is no fragment, and a commit that is one.
                            "a @ https://x.org/a.whl?v=1&sha256=00", "a @ https://x.org/a.whl#sha256=",
                            "a @ git+https://x.org/a#egg=a@0123456789abcdef0123456789abcdef01234567",
                            "a @ git+https://x.org/a@main?r=@0123456789abcdef0123456789abcdef01234567",
                            "a; python_version == '3.11'", "mcp==", ""}) {
    EXPECT_FALSE(is_exact_requirement(loose)) << loose;
  }
}

TEST(Pinned, npm_specs_with_one_version) {
  for (const char* exact : {"a@1.2.3", "@s/a@1.2.3", "a@1.2.3-rc.1+b", "x@npm:@s/a@1.2.3"})
    EXPECT_TRUE(is_exact_npm_spec(exact)) << exact;
  for (const char* loose : {"a", "@s/a", "a@latest", "a@^1.2.3", "a@1.2", "a@1", "a@1.2.x", "a@>=1.2.3", "a@*",
                            "x@npm:a", "https://x.org/a@1.2.3", "a@1..2", "a@.1.2"}) {
    EXPECT_FALSE(is_exact_npm_spec(loose)) << loose;
  }
}

struct LockedTest : testing::Test {
  test::TempTree tree;
  Plan plan(std::vector<std::string> command, bool locked) {
    LaunchSpec spec{.name = "s", .command = command[0]};
    spec.args.assign(command.begin() + 1, command.end());
    spec.host_path = tree.dir("p");
    Policy policy;
    policy.allowed_roots = {tree.root()};
    policy.locked = locked;
    return make_plan(spec, policy).value();
  }
};

TEST_F(LockedTest, what_is_not_pinned_is_refused_with_what_is_missing) {
  tree.file("p/requirements.txt", "mcp==1.2.3\nrequests>=2\n");
  tree.file("p/server.py", "x");
  EXPECT_TRUE(plan({"python", "server.py"}, false).refused.empty());
  const Plan refused = plan({"python", "server.py"}, true);
  ASSERT_EQ(refused.refused.size(), 1u);
  EXPECT_NE(refused.refused[0].reason.find("requests>=2"), std::string::npos) << refused.refused[0].reason;
  EXPECT_EQ(refused.refused[0].reason.find("mcp=="), std::string::npos) << refused.refused[0].reason;
}

TEST_F(LockedTest, exact_versions_install_alone_and_are_checked) {
  tree.file("p/requirements.txt", "mcp\n-c constraints.txt\n");
  tree.file("p/constraints.txt", "mcp==1.2.3\nother>=1\n");
  tree.file("p/server.py", "x");
  const Plan open = plan({"python", "server.py"}, false);
  const Plan locked = plan({"python", "server.py"}, true);
  ASSERT_TRUE(locked.refused.empty()) << locked.refused[0].reason;
  ASSERT_EQ(locked.install->steps.size(), open.install->steps.size() + 1);
  EXPECT_NE(locked.install->hash, open.install->hash);
}

TEST_F(LockedTest, packages_by_name_need_a_version) {
  EXPECT_EQ(plan({"npx", "-y", "server"}, true).refused.size(), 1u);
  EXPECT_EQ(plan({"npx", "-y", "server@1.2.3"}, true).refused.size(), 0u);
  EXPECT_EQ(plan({"uvx", "server"}, true).refused.size(), 1u);
  EXPECT_EQ(plan({"uvx", "--with", "more", "server@1.2"}, true).refused.size(), 1u);
  EXPECT_EQ(plan({"uvx", "server@1.2"}, true).refused.size(), 0u);
}

TEST_F(LockedTest, a_lock_file_gives_the_same_environment_in_both_modes) {
  tree.file("p/package.json", R"({"dependencies":{"a":"^1"}})");
  tree.file("p/index.js", "x");
  EXPECT_EQ(plan({"node", "index.js"}, true).refused.size(), 1u);
  tree.file("p/package-lock.json", R"({"lockfileVersion":3,"packages":{}})");
  const Plan locked = plan({"node", "index.js"}, true);
  EXPECT_TRUE(locked.refused.empty());
  EXPECT_EQ(locked.install->hash, plan({"node", "index.js"}, false).install->hash);
}

TEST_F(LockedTest, a_refresh_gives_what_was_asked_another_place) {
  LaunchSpec spec{.name = "s", .command = "uvx", .args = {"server"}};
  Policy policy;
  const Plan before = make_plan(spec, policy).value();
  policy.refreshed[before.install->hash] = "salt";
  const Plan after = make_plan(spec, policy).value();
  EXPECT_NE(after.install->hash, before.install->hash);
  EXPECT_EQ(after.install->asked_hash, before.install->hash);
  EXPECT_NE(after.install->environment, before.install->environment);
  EXPECT_EQ(after.argv[0], after.install->environment + "/bin/server");
}

}  // namespace
}  // namespace mcpbox::workspace
