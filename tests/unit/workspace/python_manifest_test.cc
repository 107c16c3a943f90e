#include "workspace/python_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "workspace/toml_bounds.h"

namespace mcpbox::workspace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ProjectFacts facts_of(std::string_view text) {
  auto facts = read_project(text);
  EXPECT_TRUE(facts.has_value()) << text << "\n" << (facts ? "" : facts.error().message());
  return facts.value_or(ProjectFacts{});
}

std::string error_of(std::string_view text) {
  const auto facts = read_project(text);
  EXPECT_FALSE(facts.has_value()) << text;
  return facts ? "" : facts.error().message();
}

TEST(Project, facts_are_read_past_strings_and_comments) {
  const auto facts = facts_of(
      "[project]\nname='x'\ndescription = \"\"\"\n[build-system]\n\"\"\"\ndynamic = [\"version\"]\nrequires-python = "
      "\">=3.11\"\n"
      "dependencies = [\"a[b]>=1\", # ]\n 'c; x == \"]\"',\n]\n[tool.uv.sources]\nlib = { path = \"../lib\" }\n");
  EXPECT_TRUE(facts.has_project);
  EXPECT_FALSE(facts.has_build_system);
  EXPECT_FALSE(facts.dynamic_dependencies);
  EXPECT_TRUE(facts.has_local_sources);
  EXPECT_EQ(facts.requires_python, ">=3.11");
  EXPECT_THAT(facts.dependencies, ElementsAre("a[b]>=1", "c; x == \"]\""));
  EXPECT_TRUE(facts_of("[project]\ndynamic = [\n'dependencies']\n[build-system]").dynamic_dependencies);
  EXPECT_TRUE(facts_of("[tool.uv]\npackage = false").no_package);
}

TEST(Project, dotted_keys_and_inline_tables_say_the_same_as_tables) {
  EXPECT_THAT(facts_of("project.name = 'x'\nproject.dependencies = ['six']\n").dependencies, ElementsAre("six"));
  EXPECT_TRUE(facts_of("project.requires-python = '>=3.12'").has_project);
  EXPECT_EQ(facts_of("project = { name = 'x', requires-python = '>=3.12', dependencies = ['six'] }").requires_python,
            ">=3.12");
  EXPECT_TRUE(facts_of("build-system = { requires = ['hatchling'], build-backend = 'x' }").has_build_system);
  EXPECT_TRUE(facts_of("build-system.requires = ['hatchling']").has_build_system);
  EXPECT_TRUE(facts_of("[tool]\npoetry = { name = 'x' }").has_poetry);
  EXPECT_TRUE(facts_of("[tool]\nuv.package = false").no_package);
  EXPECT_TRUE(facts_of("tool.poetry.package-mode = false").no_package);
  EXPECT_TRUE(facts_of("[tool.uv]\nsources.lib.workspace = true\nworkspace.members = ['a']").has_local_sources);
  EXPECT_TRUE(facts_of("[tool.uv]\nworkspace = { members = ['a'] }").has_workspace);
  EXPECT_TRUE(facts_of("[tool.uv.sources]\nlib = [\n  { git = 'https://h/r' },\n  { path = '../x', marker = 'y' },\n]")
                  .has_local_sources);
}

TEST(Project, words_in_values_are_no_sources) {
  EXPECT_FALSE(facts_of("[tool.uv.sources]\nlib = { git = 'https://h/path/workspace.git' }").has_local_sources);
  EXPECT_FALSE(facts_of("[tool.other]\ndependencies = ['x']").has_project);
  EXPECT_TRUE(facts_of("[tool.other]\ndependencies = ['x']").dependencies.empty());
  EXPECT_TRUE(facts_of("[project.optional-dependencies]\ndependencies = ['x']").dependencies.empty());
}

TEST(Project, strings_have_all_their_spellings) {
  const auto facts = facts_of(
      "[\"project\"]\n'dependencies' = [\n  \"a\\u003d=1\", # one\n  'b', # \"two\", ]\n  \"\"\"c>=\\\n   2\"\"\",\n  "
      "'''d''',\n]\n\"requires-python\" = '''>=3.10'''\n");
  EXPECT_TRUE(facts.has_project);
  EXPECT_THAT(facts.dependencies, ElementsAre("a==1", "b", "c>=2", "d"));
  EXPECT_EQ(facts.requires_python, ">=3.10");
  // A quoted key with a dot is one key.
  EXPECT_FALSE(facts_of("[\"tool.poetry\"]\nname = 'x'").has_poetry);
}

TEST(Project, ends_of_lines_and_a_byte_order_mark_do_not_matter) {
  const auto facts = facts_of("\xEF\xBB\xBF[project]\r\ndependencies = [\r\n  'six', # why\r\n]\r\n");
  EXPECT_TRUE(facts.has_project);
  EXPECT_THAT(facts.dependencies, ElementsAre("six"));
  EXPECT_FALSE(facts_of("").has_project);
}

TEST(Project, what_is_said_twice_is_an_error_with_its_line) {
  EXPECT_THAT(error_of("[project]\nname = 'a'\nname = 'b'\n"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("[project]\nname = 'a'\n\n[project]\nversion = '1'\n"), HasSubstr("line 4"));
  EXPECT_THAT(error_of("[a]\nb.c = 1\nb = { d = 1 }\n"), HasSubstr("line 3"));
}

TEST(Project, what_is_no_toml_is_an_error_with_its_line) {
  EXPECT_THAT(error_of("[project]\ndependencies = ['a'\n[tool]\n"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("[project]\nname = \"\xff\"\n"), HasSubstr("line 2"));
  EXPECT_THAT(error_of("[project\n"), HasSubstr("line 1"));
  EXPECT_THAT(error_of("[project]\ndependencies = 'six'\n"), HasSubstr("line 2: dependencies is no array"));
  EXPECT_THAT(error_of("[project]\ndependencies = ['a',\n  1]\n"), HasSubstr("line 3: dependencies has an entry"));
}

TEST(Project, a_dependency_cannot_bring_a_second_line_with_it) {
  EXPECT_THAT(error_of("dependencies = [\"six\\n--index-url http://evil\"]"), HasSubstr("one line"));
  EXPECT_THAT(error_of("dependencies = [\"\"\"six\n--pre\"\"\"]"), HasSubstr("one line"));
  EXPECT_THAT(error_of("dependencies = [\"six\\r--pre\"]"), HasSubstr("one line"));
}

TEST(Project, has_bounds_for_length_depth_and_number) {
  const auto code_of = [](const std::string& text) {
    const auto facts = read_project(text);
    return facts ? std::optional<Code>() : facts.error().code();
  };
  EXPECT_EQ(code_of("#" + std::string((1 << 20) - 1, 'x')), std::nullopt);
  EXPECT_EQ(code_of("#" + std::string(1 << 20, 'x')), Code::kResourceExhausted);
  EXPECT_EQ(code_of("a = " + std::string(30, '[') + std::string(30, ']')), std::nullopt);
  EXPECT_EQ(code_of("a = " + std::string(40'000, '[')), Code::kDataLoss);
  std::string key = "a";
  for (int i = 0; i < 15; ++i) key += ".a";
  EXPECT_EQ(code_of(key + " = 1"), std::nullopt);
  EXPECT_EQ(code_of("\n[" + key + " . \"a\"]"), Code::kResourceExhausted);
  std::string deep = "a";
  for (int i = 0; i < 200'000; ++i) deep += ".a";
  EXPECT_EQ(code_of(deep + " = 1"), Code::kResourceExhausted);
  std::string many = "a = [";
  for (int i = 0; i < 200'001; ++i) many += "1,";
  EXPECT_EQ(code_of(many + "]"), Code::kResourceExhausted);
}

TEST(TomlBounds, count_nothing_inside_of_strings_and_comments) {
  const TomlBounds small{.max_bytes = 1000, .max_tokens = 3, .max_key_parts = 2};
  for (const char* text : {"# a.b.c.d = [[[[", "a = '.......[[[='", "a = \".....\\\".....\"",
                           "a = \"\"\"\n. . . . \"\" . . \\\"\"\"\" \"\"\"", "a = '''. . . . '' . . . .'''''",
                           "a = '\n.......", "a = \"unfinished ......."}) {
    EXPECT_TRUE(check_toml_bounds(text, small).has_value()) << text;
  }
  EXPECT_THAT(check_toml_bounds("x = '''\n'''\na.b.c = 1", small).error().message(), HasSubstr("line 3"));
  EXPECT_FALSE(check_toml_bounds("a = '''''' . . . ''", small).has_value());
  EXPECT_FALSE(check_toml_bounds("a = [[[", small).has_value());
}

TEST(PoetryPins, leave_out_what_is_not_from_an_index) {
  const auto pins = poetry_pins(
      "[[package]]\nname = \"a\"\nversion = \"1\"\n\n[[package]]\nname = \"g\"\nversion = "
      "\"2\"\n\n[package.source]\ntype "
      "= \"git\"\n\n[[package]]\nname = \"d\"\nversion = \"1\"\n[[package]]\nname = \"d\"\nversion = \"2\"\n\n"
      "[metadata]\nname = \"no\"\n");
  ASSERT_TRUE(pins.has_value());
  EXPECT_THAT(*pins, ElementsAre("a==1"));
}

TEST(PoetryPins, are_read_whatever_the_order_and_the_spelling) {
  const auto pins = poetry_pins(
      "package = [ { version = '1', name = 'a' }, { name = 'b', version = '2', source = { type = 'legacy' } },\n"
      "  { name = 'c', version = '3', source.type = 'directory' } ]\n");
  ASSERT_TRUE(pins.has_value());
  EXPECT_THAT(*pins, ElementsAre("a==1", "b==2"));
  EXPECT_FALSE(poetry_pins("[[package]]\nname = \"a\\n--pre\"\nversion = '1'\n"));
  EXPECT_FALSE(poetry_pins("[[package]]\nname = '-r'\nversion = '1'\n"));
}

TEST(UvLock, names_folders_of_this_machine) {
  const auto names = [](std::string_view lock) {
    const auto found = lock_names_folders(lock);
    EXPECT_TRUE(found.has_value()) << lock;
    return found.value_or(false);
  };
  EXPECT_FALSE(names("[[package]]\nname = 'x'\nsource = { virtual = \".\" }\n"));
  EXPECT_FALSE(names("[[package]]\nname = 'editable = \"x\"'\nsource = { registry = 'https://pypi.org/simple' }\n"));
  EXPECT_FALSE(names("[[package]]\nname = 'pathspec'\n"));
  EXPECT_TRUE(names("[[package]]\nname = 'x'\nsource = { \"p\\u0061th\" = 'lib' }\n"));
  EXPECT_TRUE(names("source = { virtual = \".\" }\nother = { path = \"./x\" }\n"));
  EXPECT_TRUE(names("[[package]]\nname = 'x'\nsource = { editable='../lib' }\n"));
  EXPECT_TRUE(names("[[package]]\nname = 'x'\n[package.source]\ndirectory = 'lib'\n"));
  EXPECT_TRUE(names("[package.metadata]\nrequires-dist = [{ name = 'l', directory = \"l\" }]\n"));
}

TEST(Project, a_header_that_begins_with_no_key_is_an_error_and_no_end) {
  for (const char* text : {"[ = 1]\n", "[[ = 1]]\n", "[=]", "[ a . = ]\n", "{ = 1}\n", "a = { = 1 }\n", "[!]\n"}) {
    const auto facts = read_project(text);
    ASSERT_FALSE(facts) << text;
    EXPECT_EQ(facts.error().code(), Code::kDataLoss) << text;
    EXPECT_NE(facts.error().message().find("line 1"), std::string::npos) << facts.error().message();
  }
}

TEST(Project, letters_beyond_ascii_stand_in_strings_and_comments_only) {
  EXPECT_TRUE(read_project("\xEF\xBB\xBF# \xC3\xA4\n[project]\nname = \"\xC3\xA4\"\n\"\xCD\x9B\" = '\xCD\x9B'\n"));
  for (const char* text : {"\xCD\x9B=", "\n\xC3\xA4 = 1", "a = \xCD\x9B", "[\xCD\x9B]"}) {
    const auto facts = read_project(text);
    ASSERT_FALSE(facts) << text;
    EXPECT_EQ(facts.error().code(), Code::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace mcpbox::workspace
