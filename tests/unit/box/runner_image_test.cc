#include "box/runner_image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/digest.h"

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;

struct RunnerImageTest : testing::Test {
  fs::path dir;
  void SetUp() override {
    char name[] = "/tmp/mcpbox-runner-XXXXXX";
    dir = ::mkdtemp(name);
  }
  void TearDown() override { fs::remove_all(dir); }
  void write(const std::string& name, const std::string& content) {
    fs::create_directories((dir / name).parent_path());
    std::ofstream(dir / name) << content;
  }
};

TEST_F(RunnerImageTest, the_tag_is_the_hash_of_names_and_contents) {
  write("build", "one");
  write("b/c", "two");
  const std::string lines = sha256_hex("two") + "  b/c\n" + sha256_hex("one") + "  build\n";
  auto tag = runner_image_tag(dir);
  ASSERT_TRUE(tag) << tag.error().message();
  EXPECT_EQ(*tag, "mcpbox-runner:" + sha256_hex(lines).substr(0, 12));
}

TEST_F(RunnerImageTest, a_changed_or_renamed_file_changes_the_tag) {
  write("a", "one");
  const auto first = *runner_image_tag(dir);
  write("a", "two");
  const auto changed = *runner_image_tag(dir);
  fs::rename(dir / "a", dir / "b");
  const auto renamed = *runner_image_tag(dir);
  EXPECT_NE(first, changed);
  EXPECT_NE(changed, renamed);
}

TEST_F(RunnerImageTest, links_and_large_files_do_not_get_in) {
  write("a", "one");
  const auto before = *runner_image_tag(dir);
  fs::create_symlink("/etc/passwd", dir / "link");
  EXPECT_EQ(*runner_image_tag(dir), before);
  write("big", "");
  fs::resize_file(dir / "big", (16 << 20) + 1);
  EXPECT_EQ(runner_image_tag(dir).error().code(), Code::kResourceExhausted);
}

TEST_F(RunnerImageTest, a_missing_folder_is_an_error) { EXPECT_FALSE(runner_image_tag(dir / "nothing")); }

TEST_F(RunnerImageTest, the_folder_is_taken_from_the_environment) {
  ::setenv("MCPBOX_IMAGE_DIR", dir.c_str(), 1);
  EXPECT_EQ(find_runner_image_dir().error().code(), Code::kNotFound);  // no build program in it
  write("build", "#!/bin/sh\n");
  ::chmod((dir / "build").c_str(), 0755);
  auto found = find_runner_image_dir();
  ::unsetenv("MCPBOX_IMAGE_DIR");
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, dir.string());
}

}  // namespace
}  // namespace mcpbox::box
