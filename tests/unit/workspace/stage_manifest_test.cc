#include "workspace/stage_manifest.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>

#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

// Writes down every entry, as who stages a folder does.
struct Recorder final : WalkSink {
  Result<void> directory(std::string_view path) override {
    manifest.entries.push_back({StageManifest::Kind::kDirectory, std::string(path), {}, ""});
    return {};
  }
  Result<void> file(std::string_view path, std::uint64_t, bool, int fd) override {
    struct stat status{};
    EXPECT_EQ(::fstat(fd, &status), 0);
    manifest.entries.push_back({StageManifest::Kind::kFile, std::string(path), stamp_of(status), ""});
    return {};
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    manifest.entries.push_back({StageManifest::Kind::kLink, std::string(path), {}, std::string(target)});
    return {};
  }
  StageManifest manifest;
};

class StageManifests : public ::testing::Test {
 protected:
  void SetUp() override {
    tree_.file("p/a/one", "1");
    tree_.file("p/a/two", "22", 0755);
    tree_.file("p/b", "333");
    tree_.link("p/l", "a/one");
  }
  StageManifest record() {
    Recorder recorder;
    EXPECT_TRUE(walk(tree_.path("p"), {tree_.root()}, {}, recorder));
    recorder.manifest.generation = "g";
    recorder.manifest.host = tree_.path("p");
    recorder.manifest.mount = "/workspace/w";
    return std::move(recorder.manifest);
  }
  bool matches(const StageManifest& manifest) {
    ManifestMatcher matcher(manifest);
    auto walked = walk(tree_.path("p"), {tree_.root()}, {}, matcher);
    EXPECT_EQ(walked.has_value(), !matcher.differs());
    return matcher.finished();
  }
  test::TempTree tree_;
};

TEST_F(StageManifests, come_back_from_a_file_as_they_were) {
  StageManifest manifest = record();
  EXPECT_EQ(manifest.entries.size(), 5u);
  manifest.writable = manifest.digests = true;
  manifest.entries[1].detail = std::string(64, 'd');
  const std::string path = tree_.path("state/m");
  ASSERT_TRUE(save_manifest(path, manifest));
  EXPECT_EQ(load_manifest(path).value(), manifest);
  struct stat status{};
  ASSERT_EQ(::stat(tree_.path("state").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  EXPECT_EQ(load_manifest(tree_.path("state/none")).error().code(), Code::kNotFound);
}

TEST_F(StageManifests, are_refused_when_a_byte_is_wrong_or_missing) {
  const std::string bytes = encode_manifest(record());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string altered = bytes;
    altered[i] = static_cast<char>(altered[i] ^ 0x40);
    ASSERT_FALSE(decode_manifest(altered)) << i;
    ASSERT_FALSE(decode_manifest(bytes.substr(0, i))) << i;
  }
  EXPECT_FALSE(decode_manifest(bytes + "x"));
}

TEST_F(StageManifests, match_a_folder_that_nobody_touched) {
  EXPECT_TRUE(matches(record()));
}

TEST_F(StageManifests, notice_every_kind_of_change) {
  struct stat before{};
  ASSERT_EQ(::stat(tree_.path("p/b").c_str(), &before), 0);
  const std::pair<const char*, std::function<void()>> changes[] = {
      {"content", [&] { tree_.file("p/b", "444"); }},
      {"content with the old modification time",
       [&] {
         tree_.file("p/b", "555");
         const timespec times[2] = {before.st_atim, before.st_mtim};
         ASSERT_EQ(::utimensat(AT_FDCWD, tree_.path("p/b").c_str(), times, 0), 0);
       }},
      {"mode", [&] { ASSERT_EQ(::chmod(tree_.path("p/b").c_str(), 0700), 0); }},
      {"another file of the same size and content",
       [&] {
         tree_.file("p/c", "555");
         ASSERT_EQ(::rename(tree_.path("p/c").c_str(), tree_.path("p/b").c_str()), 0);
       }},
      {"one more file", [&] { tree_.file("p/z", ""); }},
      {"one less", [&] { ASSERT_EQ(::unlink(tree_.path("p/z").c_str()), 0); }},
      {"a new folder", [&] { tree_.dir("p/c"); }},
      {"a file instead of a folder",
       [&] {
         ASSERT_EQ(::rmdir(tree_.path("p/c").c_str()), 0);
         tree_.file("p/c", "");
       }},
      {"a link's target",
       [&] {
         ASSERT_EQ(::unlink(tree_.path("p/l").c_str()), 0);
         tree_.link("p/l", "a/two");
       }},
      {"a rename", [&] { ASSERT_EQ(::rename(tree_.path("p/a").c_str(), tree_.path("p/e").c_str()), 0); }},
      {"an ignore file's rule", [&] { tree_.file("p/.mcpboxignore", "two\n"); }},
  };
  for (const auto& [what, change] : changes) {
    const StageManifest manifest = record();
    ASSERT_TRUE(matches(manifest)) << what;
    change();
    EXPECT_FALSE(matches(manifest)) << what;
  }
}

TEST_F(StageManifests, do_not_trust_what_changed_while_the_clock_stood_still) {
  StageManifest manifest = record();
  std::int64_t newest = 0;
  for (const auto& entry : manifest.entries) newest = std::max(newest, entry.stamp.ctime_ns);
  StageManifest later = manifest;
  later.distrust_changes_since(newest + 3'000'000'000);
  EXPECT_TRUE(matches(later));
  manifest.distrust_changes_since(newest + 1'000'000);
  EXPECT_FALSE(matches(manifest));
  struct stat status{};
  ASSERT_EQ(::stat(tree_.path("p/b").c_str(), &status), 0);
  EXPECT_EQ(ManifestIndex(manifest).same_file("b", stamp_of(status)), nullptr);
  EXPECT_NE(ManifestIndex(later).same_file("b", stamp_of(status)), nullptr);
  EXPECT_EQ(ManifestIndex(later).same_file("a", stamp_of(status)), nullptr);
}

}  // namespace
}  // namespace mcpbox::workspace
