#include "workspace/ignore.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/text.h"
#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

TEST(IgnoreRules, follow_the_examples_of_the_manual_page) {
  IgnoreRules rules(
      "# comment\n\n*.log\n!keep.log\n/top\nbuild/\ndoc/*.txt\nfoo/**/bar\n\\#hash\n\\!bang\ntrailing\\ \nspaced   \n");
  EXPECT_EQ(rules.decide("a.log", false), true);
  EXPECT_EQ(rules.decide("deep/a.log", false), true);
  EXPECT_EQ(rules.decide("keep.log", false), false);
  EXPECT_EQ(rules.decide("top", false), true);
  EXPECT_EQ(rules.decide("sub/top", false), std::nullopt);
  EXPECT_EQ(rules.decide("build", true), true);
  EXPECT_EQ(rules.decide("build", false), std::nullopt);
  EXPECT_EQ(rules.decide("doc/a.txt", false), true);
  EXPECT_EQ(rules.decide("doc/b/a.txt", false), std::nullopt);
  EXPECT_EQ(rules.decide("foo/bar", false), true);
  EXPECT_EQ(rules.decide("foo/x/y/bar", false), true);
  EXPECT_EQ(rules.decide("#hash", false), true);
  EXPECT_EQ(rules.decide("!bang", false), true);
  EXPECT_EQ(rules.decide("trailing ", false), true);
  EXPECT_EQ(rules.decide("spaced", false), true);
}

TEST(Glob, never_needs_more_than_pattern_times_text_steps) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "**/a*";
  Glob hostile(pattern, true);
  EXPECT_FALSE(hostile.matches(std::string(4000, 'a')));
}

// The tree on which both git and we judge; small, so that every pattern has a fair chance.
std::vector<std::pair<std::string, bool>> candidate_paths() {
  std::vector<std::pair<std::string, bool>> result;
  for (const char* directory : {"a", "b", "ab", "a/b", "a/b/a", "foo", "foo/bar", "foo/a", "foox", "foox/y", "a-b"}) {
    result.emplace_back(directory, true);
    for (const char* file : {"x", "a.c", "b.o", "bar.c", "]", "-", "A", "7", " s", "foo]"})
      result.emplace_back(std::string(directory) + "/" + file, false);
  }
  for (const char* file : {"x", "a.c", "b.o", "#x", "!x", "foobar", "\\x", "x y", "*"})
    result.emplace_back(file, false);
  return result;
}

std::string random_pattern(std::mt19937& random) {
  static const std::vector<std::string> kPieces{
      "a",         "b",    "foo",   "bar",   "x",   "ab",   ".c",          ".o",
      "*",         "*",    "**",    "**/",   "/**", "/",    "/",           "?",
      "[ab]",      "[!a]", "[^b]",  "[a-c]", "[]]", "[]-]", "[[:alpha:]]", "[[:digit:]x]",
      "[[:bad:]]", "[a",   "[\\]]", "[--0]", "\\a", "\\*",  "\\",          "!",
      "#",         " ",    "\\ ",   "***",   "y",   "A",    "-",           "[[:upper:]a]",
      "[[:a]",     "[z-a]"};
  std::string pattern = random() % 5 == 0 ? "!" : "";
  if (random() % 5 == 0) pattern += "/";
  for (unsigned count = 1 + random() % 5; count > 0; --count) pattern += kPieces[random() % kPieces.size()];
  if (random() % 5 == 0) pattern += "/";
  return pattern;
}

// What walk() would do: the nearest ignored parent decides for all beneath it.
bool we_ignore(const IgnoreRules& rules, const std::string& path, bool is_directory) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (rules.decide(path.substr(0, slash), true).value_or(false)) return true;
  }
  return rules.decide(path, is_directory).value_or(false);
}

TEST(IgnoreRules, agree_with_git_on_random_patterns) {
  test::TempTree tree;
  auto paths = candidate_paths();
  std::string list;
  for (const auto& [path, is_directory] : paths) {
    if (is_directory)
      tree.dir("repo/" + path);
    else
      tree.file("repo/" + path);
    list += path + '\0';
  }
  tree.file("list", list);
  ASSERT_EQ(std::system(
                ("cd '" + tree.path("repo") + "' && git init -q . && git config core.excludesFile /dev/null").c_str()),
            0);
  // Where gitignore is subtle; the rest is left to chance.
  const std::vector<std::string> known{
      "foo**/x", "fo**/x",  "?oo**/x",         "a/**",       "a/**/x",       "**",       "/**",
      "/**/",    "**/",     "foo/**/",         "*/",         "**b",          "foo/*",    "/foo/*/",
      "a[/]b",   "\\*",     "foo\\/x",         "f?o/x",      "foo**",        "**\\/x",   "a/***/x",
      "a/**b/x", "a/b**/a", "*\n!foo\n!foo/x", "*\n!*/\n!x", "foo/\n!foo/x", "/*\n!/foo"};
  std::mt19937 random(20261121);
  for (int round = 0; round < 250; ++round) {
    std::string text = round < static_cast<int>(known.size()) ? known[static_cast<std::size_t>(round)] + "\n" : "";
    if (text.empty())
      for (unsigned lines = 1 + random() % 4; lines > 0; --lines)
        text += random_pattern(random) + (random() % 8 == 0 ? "\r\n" : "\n");
    tree.file("repo/.gitignore", text);
    int status = std::system(
        ("cd '" + tree.path("repo") + "' && git check-ignore --no-index -z --stdin < ../list > ../ignored 2>../error")
            .c_str());
    ASSERT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 1);
    std::ifstream file(tree.path("ignored"), std::ios::binary);
    std::string output((std::istreambuf_iterator<char>(file)), {});
    std::set<std::string> git;
    for (std::string_view name : split(output, '\0')) git.emplace(name);
    IgnoreRules rules(text);
    for (const auto& [path, is_directory] : paths) {
      ASSERT_EQ(we_ignore(rules, path, is_directory), git.contains(path)) << "path '" << path << "' with\n" << text;
    }
  }
}

}  // namespace
}  // namespace mcpbox::workspace
