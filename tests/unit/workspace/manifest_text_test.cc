#include "workspace/manifest_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workspace/command.h"

namespace mcpbox::workspace {
namespace {

using ::testing::ElementsAre;
using Kind = RequirementLine::Kind;

TEST(Requirements, tell_packages_files_folders_and_options_apart) {
  auto lines = parse_requirements(
      "# c\nsix==1 # why\nurl#egg@1\n-r a.txt\n--requirement=b.txt\n-cc.txt\n-e .\n-e ./lib[x] ; "
      "python_version>'3'\n-e git+https://h/r#egg=x\n"
      "./w.whl\npkg @ file:///p/x\npkg @ https://h/x\n--pre\nlib/sub\nsix \\\n --hash=sha256:0\r\n");
  std::vector<Kind> kinds;
  for (const auto& line : lines) kinds.push_back(line.kind);
  EXPECT_THAT(kinds, ElementsAre(Kind::kPackage, Kind::kPackage, Kind::kInclude, Kind::kInclude, Kind::kConstraint,
                                 Kind::kEditable, Kind::kEditable, Kind::kPackage, Kind::kLocalPath, Kind::kLocalPath,
                                 Kind::kPackage, Kind::kOption, Kind::kLocalPath, Kind::kPackage));
  EXPECT_EQ(lines[0].text, "six==1");
  EXPECT_EQ(lines[3].target, "b.txt");
  EXPECT_EQ(lines[4].target, "c.txt");
  EXPECT_EQ(lines[6].target, "./lib");
  EXPECT_EQ(lines[6].suffix, "[x] ; python_version>'3'");
  EXPECT_EQ(lines[7].text, "git+https://h/r#egg=x");
  EXPECT_EQ(lines[9].target, "/p/x");
  EXPECT_TRUE(lines.back().has_hash);
}

TEST(Requirements, read_file_urls_as_urls) {
  const auto target = [](std::string_view line) { return parse_requirements(line).at(0).target; };
  EXPECT_EQ(target("pkg @ file:///p/my%20dir[x]"), "/p/my dir");
  EXPECT_EQ(target("-e file:///p/x#egg=y"), "/p/x");
  EXPECT_EQ(target("file://localhost/p/x"), "/p/x");
  EXPECT_EQ(target("file:/p/x"), "/p/x");
  EXPECT_EQ(target("file:../x"), "../x");
  EXPECT_EQ(target("./my%20dir"), "./my%20dir");
  EXPECT_EQ(target("file:///p/100%"), "/p/100%");
}

TEST(ScriptHeader, is_found_where_pep_723_says) {
  EXPECT_EQ(script_header("#!/x\n# /// script\n# a = 1\n#\n# b = 2\n# ///\nprint()\n"), "a = 1\n\nb = 2\n");
  EXPECT_EQ(script_header("# /// script\n# a = 1\n# ///"), "a = 1\n");
  EXPECT_EQ(script_header("# /// script\n# a = 1\nprint()\n# ///\n"), std::nullopt);
  EXPECT_EQ(script_header("# /// other\n# a = 1\n# ///\n"), std::nullopt);
  EXPECT_EQ(script_header("# /// script\n# ///\n\n# /// script\n# ///\n"), std::nullopt);
  EXPECT_EQ(script_header(""), std::nullopt);
}

TEST(PythonFor, asks_for_another_only_when_the_image_will_not_do) {
  EXPECT_EQ(python_for("", 11), "");
  EXPECT_EQ(python_for(">=3.9", 11), "");
  EXPECT_EQ(python_for(">=3.12", 11), "3.12");
  EXPECT_EQ(python_for(">=3.8,<3.11", 11), "3.10");
  EXPECT_EQ(python_for("==3.13.*", 11), "3.13");
  EXPECT_EQ(python_for(">3.11", 11), "3.12");
  EXPECT_EQ(python_for(">=3.10,<4", 11), "");
}

TEST(Names, of_npm_specs) {
  EXPECT_EQ(npm_name_of("pkg"), "pkg");
  EXPECT_EQ(npm_name_of("pkg@1"), "pkg");
  EXPECT_EQ(npm_name_of("@s/pkg@latest"), "@s/pkg");
  EXPECT_EQ(npm_name_of("alias@npm:real@1"), "alias");
  for (const char* other :
       {"github:u/r", "u/r", "git+https://h/r.git", "https://h/x.tgz", "./x", "/x", "x.tgz", "@scope"})
    EXPECT_EQ(npm_name_of(other), "") << other;
}

TEST(Names, of_python_requirements) {
  EXPECT_EQ(python_name_of("pkg[x]==1"), "pkg");
  EXPECT_EQ(python_name_of("pkg@1"), "pkg");
  EXPECT_EQ(python_name_of("git+https://h/r"), "");
  EXPECT_EQ(python_requirement_of("pkg@1.2"), "pkg==1.2");
  EXPECT_EQ(python_requirement_of("pkg[x]@latest"), "pkg[x]");
  EXPECT_EQ(python_requirement_of("pkg @ https://h/x"), "pkg @ https://h/x");
  EXPECT_EQ(python_requirement_of("git+ssh://git@h/r"), "git+ssh://git@h/r");
}

}  // namespace
}  // namespace mcpbox::workspace
