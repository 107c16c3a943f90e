#include "box/docker/runner_image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/digest.h"
#include "box/docker/engine.h"
#include "support/fake_engine.h"
#include "support/run_task.h"

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
  boost::asio::io_context loop;
  std::vector<std::string> lines;
  Progress progress = [this](std::string_view line) { lines.emplace_back(line); };

  void write_build(const std::string& script) {
    write("build", "#!/bin/sh\n" + script);
    ::chmod((dir / "build").c_str(), 0755);
  }
  // Has the image once the file `built` exists next to the folder's other files.
  Result<ImageInfo> ensure(std::string ca_bundle = "") {
    test::FakeEngine server(test::FakeEngine::docker([this](const auto&) {
      return fs::exists(dir.string() + ".built")
                 ? test::FakeEngine::json(200, R"({"Id":"sha256:)" + std::string(64, 'a') + R"(","RepoTags":["x"]})")
                 : test::FakeEngine::json(404, R"({"message":"No such image"})");
    }));
    auto engine = make_docker_engine(loop.get_executor(), *parse_docker_address(server.socket_path()));
    auto result =
        test::run_task(loop, ensure_runner_image(*engine, "unix:///engine.sock", dir, std::move(ca_bundle), progress));
    fs::remove(dir.string() + ".built");
    return result;
  }
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

TEST_F(RunnerImageTest, a_missing_folder_is_an_error) {
  EXPECT_FALSE(runner_image_tag(dir / "nothing"));
}

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

TEST_F(RunnerImageTest, an_image_that_is_there_is_not_built) {
  write_build("echo called; exit 1\n");
  std::ofstream(dir.string() + ".built") << "";
  EXPECT_TRUE(ensure());
  EXPECT_TRUE(lines.empty());
}

TEST_F(RunnerImageTest, builds_what_is_missing_and_passes_its_lines_on) {
  write_build("echo \"args $*\"; echo 'step one' >&2; touch \"" + dir.string() + ".built\"\n");
  auto image = ensure("/ca.pem");
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->id, "sha256:" + std::string(64, 'a'));
  std::ranges::sort(lines);
  EXPECT_EQ(lines, (std::vector<std::string>{"args --engine unix:///engine.sock --ca-bundle /ca.pem", "step one"}));
}

TEST_F(RunnerImageTest, a_failed_build_shows_its_last_words) {
  write_build("echo 'E: cannot fetch' >&2; exit 3\n");
  auto image = ensure();
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("exit code 3"), std::string::npos) << image.error().message();
  EXPECT_NE(image.error().message().find("E: cannot fetch"), std::string::npos) << image.error().message();
}

TEST_F(RunnerImageTest, a_full_disk_has_its_own_code) {
  write_build("echo 'tar: x: No space left on device' >&2; exit 2\n");
  EXPECT_EQ(ensure().error().code(), Code::kResourceExhausted);
}

TEST_F(RunnerImageTest, a_build_that_makes_another_image_is_an_error) {
  write_build("exit 0\n");
  auto image = ensure();
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("mcpbox-runner:"), std::string::npos) << image.error().message();
}

TEST(RunnerImage, the_build_script_computes_the_same_tag) {
  // Set by ctest. The path that the compiler was given may be relative to the folder that it ran in.
  const char* source = std::getenv("MCPBOX_SOURCE_DIR");
  const auto folder = (source != nullptr ? fs::path(source)
                                         : fs::path(__FILE__).parent_path().parent_path().parent_path().parent_path()) /
                      "images/runner";
  FILE* script = ::popen(("'" + (folder / "build").string() + "' --tag").c_str(), "r");
  ASSERT_NE(script, nullptr);
  char line[128] = "";
  EXPECT_NE(::fgets(line, sizeof(line), script), nullptr);
  EXPECT_EQ(::pclose(script), 0);
  auto tag = runner_image_tag(folder);
  ASSERT_TRUE(tag) << tag.error().message();
  EXPECT_EQ(*tag + "\n", line);
}

}  // namespace
}  // namespace mcpbox::box
