#include "workspace/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "json/value.h"
#include "unit/workspace/planning.h"

namespace mcpbox::workspace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(Planning, rejects_what_cannot_be_understood) {
  EXPECT_FALSE(make_plan({.name = "s", .command = " "}, policy()));
  EXPECT_FALSE(make_plan({.name = "s", .command = "x", .host_path = "relative"}, policy()));
  EXPECT_FALSE(make_plan({.name = "s", .command = "x", .cwd = "."}, policy()));
  EXPECT_FALSE(make_plan({.name = "s", .command = "x", .args = {std::string("a\0b", 3)}}, policy()));
  EXPECT_FALSE(make_plan({.name = "s", .command = "x", .env = {{"A=B", ""}}}, policy()));
  EXPECT_FALSE(make_plan({.name = "s", .command = "x", .mounts = {{"notes"}}}, policy()));
}

TEST_F(Planning, what_is_mounted_in_a_copied_folder_is_not_copied) {
  tree_.file("p/main.py");
  tree_.file("p/a/data/x");
  tree_.file("p/data/x");
  tree_.file("q/x");
  const LaunchSpec spec{.name = "s",
                        .command = "true",
                        .host_path = tree_.path("p"),
                        .mounts = {{tree_.path("p/a/data")}, {tree_.path("p/data")}, {tree_.path("q")}}};
  EXPECT_THAT(plan(spec, run_policy()).roots[0].covered, ElementsAre("a/data", "data"));
  // Elsewhere than the mounts, the copy has all.
  EXPECT_THAT(plan(spec).roots[0].covered, IsEmpty());
}

TEST_F(Planning, an_empty_list_of_allowed_roots_forbids_all) {
  Policy none = policy();
  none.allowed_roots.clear();
  Plan made = plan({.name = "s", .command = "node", .args = {tree_.file("p/i.js")}}, none);
  ASSERT_EQ(made.refused.size(), 1u);
  EXPECT_THAT(made.refused[0].reason, HasSubstr("no folder of this host is allowed"));
}

TEST_F(Planning, the_hash_changes_with_what_is_installed_and_with_nothing_else) {
  tree_.file("p/requirements.txt", "six");
  LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py", "1"), "--x"}};
  std::string first = plan(spec).install->hash;
  EXPECT_THAT(first, ::testing::MatchesRegex("[0-9a-f]{32}"));

  tree_.file("p/s.py", "2");
  LaunchSpec other{.name = "other", .command = "python", .args = {tree_.path("p/s.py")}, .env = {{"KEY", "v"}}};
  Policy elsewhere = policy();
  elsewhere.workspace = "/workspace/.mcp/other/workspace";
  EXPECT_EQ(first, plan(other, elsewhere).install->hash);
  tree_.file("q/requirements.txt", "six");
  EXPECT_EQ(first, plan({.name = "s", .command = "python3", .args = {tree_.file("q/s.py")}}).install->hash);

  Policy image = policy();
  image.image_id = "i2";
  EXPECT_NE(first, plan(spec, image).install->hash);
  tree_.file("p/requirements.txt", "six==1");
  EXPECT_NE(first, plan(spec).install->hash);
}

// Kind: two environments of one name. The second server got the first one's packages, from another registry, or its
// program.
TEST_F(Planning, the_hash_tells_from_where_and_for_what_packages_are) {
  const LaunchSpec spec{.name = "s", .command = "npx", .args = {"-y", "-p", "@acme/tools", "one"}};
  std::set<std::string> hashes{plan(spec).install->hash};
  Policy other = policy();
  other.origin = {"npm_config_registry=https://a.example/"};
  hashes.insert(plan(spec, other).install->hash);
  other.origin = {"npm_config_registry=https://b.example/"};
  hashes.insert(plan(spec, other).install->hash);
  other.origin.emplace_back("npm_config_@acme:registry=https://c.example/");
  hashes.insert(plan(spec, other).install->hash);
  other = policy();
  other.platform = "linux-other";
  hashes.insert(plan(spec, other).install->hash);
  LaunchSpec two = spec;
  two.args.back() = "two";
  hashes.insert(plan(two).install->hash);
  EXPECT_EQ(hashes.size(), 6u);
}

TEST_F(Planning, an_included_file_is_part_of_the_hash) {
  tree_.file("p/requirements.txt", "-r base.txt");
  tree_.file("p/base.txt", "a");
  LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py")}};
  Plan before = plan(spec);
  EXPECT_THAT(before.install->manifests, ElementsAre(tree_.path("p/requirements.txt"), tree_.path("p/base.txt")));
  tree_.file("p/base.txt", "b");
  EXPECT_NE(before.install->hash, plan(spec).install->hash);
}

TEST_F(Planning, an_edit_of_a_package_project_installs_it_anew) {
  tree_.file("p/pyproject.toml", "[build-system]\n[project]\nname='x'\n");
  LaunchSpec spec{.name = "s", .command = "python", .args = {"-m", "x"}, .cwd = tree_.path("p")};
  tree_.file("p/x.py", "1");
  Plan before = plan(spec);
  EXPECT_TRUE(before.install->needs_sources);
  tree_.file("p/.git/index", "other");
  EXPECT_EQ(before.install->hash, plan(spec).install->hash);
  tree_.file("p/x.py", "2");
  EXPECT_NE(before.install->hash, plan(spec).install->hash);
}

TEST_F(Planning, inputs_are_what_was_read_with_local_paths_where_the_installer_has_them) {
  tree_.file("p/requirements.txt", "-e ./lib[x]\nsix\n--index-url https://i/\n");
  tree_.file("p/lib/setup.py");
  Plan made = plan({.name = "s", .command = "python", .args = {tree_.file("p/s.py")}});
  ASSERT_EQ(made.install->inputs.size(), 1u);
  std::string base = "/cache/env/" + made.install->hash;
  EXPECT_EQ(made.install->inputs[0].path, base + "/tmp/in/requirements.txt");
  EXPECT_EQ(made.install->inputs[0].content, base + "/tmp/src/lib[x]\nsix\n--index-url https://i/\n");
  EXPECT_EQ(made.env.at("VIRTUAL_ENV"), base + "/env");
  EXPECT_THAT(made.path_prefix, ElementsAre(base + "/env/bin"));
}

TEST_F(Planning, the_projects_own_scripts_do_not_run_without_its_sources) {
  tree_.file("p/package.json", R"({"name":"p","scripts":{"prepare":"husky"},"dependencies":{"x":"1"}})");
  Plan made = plan({.name = "s", .command = "node", .args = {tree_.file("p/i.js")}});
  ASSERT_EQ(made.install->inputs.size(), 1u);
  EXPECT_THAT(made.install->inputs[0].content, HasSubstr("\"x\": \"1\""));
  EXPECT_THAT(made.install->inputs[0].content, Not(HasSubstr("husky")));
}

TEST_F(Planning, a_package_json_of_brackets_is_refused) {
  tree_.file("p/package.json",
             R"({"dependencies":{"x":"1"},"a":)" + std::string(500'000, '[') + std::string(500'000, ']') + "}");
  Plan made = plan({.name = "s", .command = "node", .args = {tree_.file("p/i.js")}});
  ASSERT_EQ(made.refused.size(), 1u);
  EXPECT_EQ(made.refused[0].path, tree_.path("p/package.json"));
}

TEST_F(Planning, a_mounted_node_project_finds_its_packages_by_variable) {
  tree_.file("p/package.json", R"({"dependencies":{"x":"1"}})");
  LaunchSpec spec{.name = "s", .command = "node", .args = {tree_.file("p/i.js")}, .mounts = {{tree_.path("p")}}};
  Plan made = plan(spec, run_policy());
  EXPECT_EQ(made.env.at("NODE_PATH"), made.install->environment + "/node_modules");
  EXPECT_THAT(made.roots[0].links, IsEmpty());
  EXPECT_EQ(made.roots[0].owner_uid, ::getuid());
  ASSERT_TRUE(made.roots[0].id);
  EXPECT_EQ(*made.roots[0].id, sys::reach_directory(tree_.path("p"))->chain.front());
}

TEST_F(Planning, run_says_which_option_brings_a_path_in) {
  tree_.file("home/u/notes/a.md");
  tree_.file("home/u/.ssh/id");
  LaunchSpec spec{.name = "s",
                  .command = "npx",
                  .args = {"pkg", tree_.path("home/u/notes"), "--key=" + tree_.path("home/u/.ssh/id"), "./server.py",
                           "/usr/share", "/no/such"},
                  .env = {{"DATA", tree_.path("home/u/notes/a.md")}, {"PATH", tree_.path("home")}},
                  .cwd = tree_.path("home/u")};
  tree_.file("home/u/server.py");
  Plan made = plan(spec, run_policy());
  EXPECT_THAT(made.hints, ElementsAre(HasSubstr("working directory"),
                                      HasSubstr("add --mount " + tree_.path("home/u/notes") + " (read-only)"),
                                      HasSubstr("is never given to a sandbox"),
                                      HasSubstr("'./server.py' exists on this host"), HasSubstr("a.md")));
  EXPECT_THAT(made.roots, IsEmpty());
  EXPECT_THAT(made.refused, IsEmpty());
}

TEST_F(Planning, run_tells_of_relative_files_too) {
  tree_.file("p/srv.py");
  LaunchSpec spec{.name = "s", .command = "python", .args = {"srv.py"}, .typed_in = tree_.path("p")};
  EXPECT_THAT(plan(spec, run_policy()).hints, ElementsAre(HasSubstr("'srv.py' exists on this host")));
  spec.command = "./srv.py";
  spec.args.clear();
  EXPECT_THAT(plan(spec, run_policy()).hints, ElementsAre(HasSubstr("'./srv.py' exists on this host")));
}

TEST_F(Planning, a_relative_file_that_was_typed_above_a_copied_folder_is_the_copy) {
  const std::string file = tree_.file("pub/srv.py");
  LaunchSpec spec{.name = "s",
                  .command = "python3",
                  .args = {"pub/srv.py"},
                  .cwd = tree_.path("pub"),
                  .typed_in = tree_.root(),
                  .host_path = tree_.path("pub")};
  EXPECT_THAT(plan(spec, run_policy()).argv, ElementsAre("python3", file));
  tree_.file("pub/pub/srv.py");
  EXPECT_THAT(plan(spec, run_policy()).argv, ElementsAre("python3", "pub/srv.py"));
}

TEST_F(Planning, python_without_requirements_is_the_interpreter_that_every_image_has) {
  EXPECT_EQ(plan({.name = "s", .command = "python", .args = {tree_.file("p/s.py")}}).argv[0], "python3");
}

TEST_F(Planning, json_has_the_documented_members) {
  tree_.file("p/requirements.txt", "six");
  Plan made = plan({.name = "s", .command = "python", .args = {tree_.file("p/s.py"), tree_.dir("home/u")}});
  auto document = json::Value::parse(plan_to_json(made));
  ASSERT_TRUE(document);
  EXPECT_EQ((*document)["roots"].at(0)["host"].string_or(), tree_.path("p"));
  EXPECT_EQ((*document)["roots"].at(0)["mode"].string_or(), "stage");
  EXPECT_EQ((*document)["roots"].at(0)["access"].string_or(), "ro");
  EXPECT_EQ((*document)["argv"].at(0).string_or(), made.argv[0]);
  EXPECT_EQ((*document)["install"]["manager"].string_or(), "uv");
  EXPECT_EQ((*document)["install"]["manifest"].string_or(), tree_.path("p/requirements.txt"));
  EXPECT_EQ((*document)["install"]["steps"].size(), 2u);
  EXPECT_EQ((*document)["refused"].at(0)["path"].string_or(), tree_.path("home/u"));
  EXPECT_GT((*document)["why"].size(), 0u);
  EXPECT_EQ(json::Value::parse(plan_to_json(plan({.name = "s", .command = "x"})))->operator[]("install").type(),
            json::Value::Type::kNull);
}

TEST_F(Planning, a_manifest_that_cannot_be_read_is_refused_and_ends_nothing) {
  // It was read a second time, and the error of that reading taken for a text.
  tree_.file("p/pyproject.toml", "[project]\nname = 'x'\ndependencies = ['six']\n#" + std::string(5 << 20, 'x'));
  const LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py", "1")}};
  const Plan made = plan(spec);
  ASSERT_EQ(made.refused.size(), 1u);
  EXPECT_EQ(made.refused[0].path, tree_.path("p/pyproject.toml"));
  tree_.file("p/uv.lock", "version = 1\n[[package]]\nname = 'x'\nsource = { virtual = '.' }\n");
  EXPECT_EQ(plan(spec).refused.size(), 1u);
}

TEST_F(Planning, a_manifest_that_is_no_toml_is_refused_with_its_line) {
  const LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py", "1")}};
  tree_.file("p/pyproject.toml", "[project]\nname = 'x'\nname = 'y'\n");
  ASSERT_EQ(plan(spec).refused.size(), 1u);
  EXPECT_THAT(plan(spec).refused[0].reason, HasSubstr("line 3"));
  tree_.file("p/pyproject.toml", "[project]\nname = 'x'\n");
  tree_.file("p/uv.lock", "[[package]]\nsource = { path = 'x' ");
  ASSERT_EQ(plan(spec).refused.size(), 1u);
  EXPECT_EQ(plan(spec).refused[0].path, tree_.path("p/uv.lock"));
  tree_.file("q/pyproject.toml", "[tool.poetry]\nname = 'x'\npackage-mode = false\n");
  tree_.file("q/poetry.lock", "[[package]]\nname = 'a'\n\nname = 'b'\n");
  const Plan poetry = plan({.name = "s", .command = "python", .args = {tree_.file("q/s.py", "1")}});
  ASSERT_EQ(poetry.refused.size(), 1u);
  EXPECT_THAT(poetry.refused[0].reason, HasSubstr("line 4"));
  const Plan script = plan({.name = "s",
                            .command = "uv",
                            .args = {"run", tree_.file("r/s.py", "# /// script\n# dependencies = ['six'\n# ///\n")}});
  ASSERT_EQ(script.refused.size(), 1u);
}

TEST_F(Planning, dotted_keys_of_a_manifest_are_installed_like_tables) {
  tree_.file("p/pyproject.toml", "project.name = 'x'\nproject.dependencies = ['six']\n");
  const LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py", "1")}};
  ASSERT_TRUE(plan(spec).install);
  EXPECT_THAT(plan(spec).install->steps.back().argv, ::testing::Contains(HasSubstr("pyproject.toml")));
}

TEST(NpmBin, follows_the_rules_of_npm) {
  auto resolve = [](const std::string& package, const std::string& bin, const std::string& json) {
    auto path = resolve_npm_bin({Program::Kind::kNpmBin, package, bin}, json);
    return path ? *path : std::string(code_name(path.error().code())) + ": " + path.error().message();
  };
  EXPECT_EQ(resolve("@s/pkg", "", R"({"name":"@s/pkg","bin":"./dist/i.js"})"), "dist/i.js");
  EXPECT_EQ(resolve("pkg", "", R"({"name":"pkg","bin":{"other":"a.js"}})"), "a.js");
  EXPECT_EQ(resolve("@s/pkg", "", R"({"name":"@s/pkg","bin":{"b":"b.js","pkg":"a.js"}})"), "a.js");
  EXPECT_EQ(resolve("mcpbox-package", "", R"({"name":"pkg","bin":{"b":"b.js","pkg":"a.js"}})"), "a.js");
  EXPECT_EQ(resolve("pkg", "", R"({"name":"pkg","bin":{"x":"a.js","y":"./a.js"}})"), "a.js");
  EXPECT_EQ(resolve("pkg", "y", R"({"name":"pkg","bin":{"x":"a.js","y":"b.js"}})"), "b.js");
  EXPECT_THAT(resolve("pkg", "", R"({"name":"pkg","bin":{"x":"a.js","y":"b.js"}})"), HasSubstr("it offers x, y"));
  EXPECT_THAT(resolve("pkg", "z", R"({"name":"pkg","bin":"a.js"})"), HasSubstr("not_found"));
  EXPECT_THAT(resolve("pkg", "", R"({"name":"pkg"})"), HasSubstr("none at all"));
  for (const char* hostile : {"../x", "a/../../x", "/etc/passwd", "..", ""}) {
    std::string answer = resolve("pkg", "", R"({"name":"pkg","bin":")" + std::string(hostile) + "\"}");
    EXPECT_TRUE(answer.starts_with("data_loss") || answer == "etc/passwd") << answer;
  }
  EXPECT_THAT(resolve("pkg", "", "not json"), HasSubstr("data_loss"));
}

}  // namespace
}  // namespace mcpbox::workspace
