#include "box/wire/stage_stream.h"

#include <gtest/gtest.h>

namespace mcpbox::box::wire {
namespace {

// Writes down what it is told.
class Recorder : public StageSink {
 public:
  Result<void> directory(std::string_view path) override { return note("dir ", path); }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable) override {
    return note("file ", std::string(path) + " " + std::to_string(size) + (executable ? " x" : "") + " <");
  }
  Result<void> data(std::string_view bytes) override {
    log += bytes;
    return {};
  }
  Result<void> file_end() override {
    log += ">\n";
    return {};
  }
  Result<void> link(std::string_view path, std::string_view target) override {
    return note("link ", std::string(path) + " -> " + std::string(target));
  }
  Result<void> keep(std::string_view path, std::uint64_t size, bool executable) override {
    return note("keep ", std::string(path) + " " + std::to_string(size) + (executable ? " x" : ""));
  }
  std::string log;

 private:
  Result<void> note(const char* what, std::string_view rest) {
    log += what;
    log += rest;
    if (!rest.ends_with('<')) log += '\n';
    return {};
  }
};

std::string sample() {
  return std::string(kStageMagic) + stage_directory("a") + stage_file("a/f", 5, true) + "hello" +
         stage_file("empty", 0, false) + stage_link("a/l", "../empty") + stage_keep("a/k", 1'000'000, true) +
         stage_keep("k", 0, false) + stage_end({6, 5});
}
constexpr const char* kSampleLog =
    "dir a\nfile a/f 5 x <hello>\nfile empty 0 <>\nlink a/l -> ../empty\nkeep a/k 1000000 x\nkeep k 0\n";

TEST(StageStream, comes_back_from_any_cut) {
  const std::string bytes = sample();
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Recorder recorder;
    StageReader reader(recorder);
    ASSERT_TRUE(reader.feed(bytes.substr(0, cut))) << cut;
    EXPECT_EQ(reader.done(), cut == bytes.size());
    ASSERT_TRUE(reader.feed(bytes.substr(cut))) << cut;
    EXPECT_TRUE(reader.done());
    EXPECT_EQ(recorder.log, kSampleLog);
    EXPECT_EQ(reader.totals(), (StageTotals{6, 5}));
  }
  Recorder recorder;
  StageReader reader(recorder);
  for (const char byte : bytes) ASSERT_TRUE(reader.feed(std::string(1, byte)));
  EXPECT_EQ(recorder.log, kSampleLog);
}

TEST(StageStream, refuses_what_is_malformed) {
  const std::string magic(kStageMagic);
  const std::string kind5("\x05\x01\x00x", 4);
  std::string keep_flags = stage_keep("f", 1, false);
  keep_flags[4] = '\x02';
  for (const std::string& bytes :
       {std::string("MCPBSTG\x02"), std::string("x"), magic + kind5, magic + stage_directory("../x"),
        magic + stage_directory(""), magic + stage_file("/x", 0, false), magic + stage_link("l", "/etc"),
        magic + stage_link("l", ".."), magic + stage_end({1, 0}), magic + stage_end({0, 1}),
        magic + stage_end({0, 0}) + "x", magic + stage_file("f", ~0ull, false), magic + stage_keep("../x", 1, false),
        magic + stage_keep("/x", 1, false), magic + stage_keep("f", ~0ull, false), magic + keep_flags}) {
    Recorder recorder;
    StageReader reader(recorder);
    EXPECT_EQ(reader.feed(bytes).error().code(), Code::kDataLoss);
    EXPECT_EQ(recorder.log, "");
  }
}

TEST(StageStream, paths_are_relative_plain_and_bounded) {
  for (const char* good : {"a", "a/b", ".hidden", "a b", "...", "ü"}) EXPECT_TRUE(is_stage_path(good)) << good;
  for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/./b"})
    EXPECT_FALSE(is_stage_path(bad)) << bad;
  EXPECT_FALSE(is_stage_path(std::string("a\0b", 3)));
  EXPECT_TRUE(is_stage_path(std::string(kMaxStageName, 'n')));
  EXPECT_FALSE(is_stage_path(std::string(kMaxStageName + 1, 'n')));
  std::string deep = "d";
  for (std::size_t i = 1; i < kMaxStageDepth; ++i) deep += "/d";
  EXPECT_TRUE(is_stage_path(deep));
  EXPECT_FALSE(is_stage_path(deep + "/d"));
  std::string longest = std::string(255, 'x');
  while (longest.size() + 256 <= kMaxStagePath) longest += "/" + std::string(255, 'x');
  EXPECT_TRUE(is_stage_path(longest));
  EXPECT_FALSE(is_stage_path(longest + "/" + std::string(255, 'x')));
}

TEST(StageStream, links_stay_in_the_tree) {
  for (auto [path, target] :
       {std::pair{"l", "a"}, {"l", "a/b"}, {"l", "."}, {"d/l", "../a"}, {"d/e/l", "../../a"}, {"l", "./a"}}) {
    EXPECT_TRUE(is_stage_link(path, target)) << path << " " << target;
  }
  for (auto [path, target] : {std::pair{"l", ""},
                              {"l", "/a"},
                              {"l", ".."},
                              {"l", "../a"},
                              {"d/l", "../../a"},
                              {"d/l", "a/../../b"},
                              {"l", "a/.."},
                              {"d/l", "./../../x"}}) {
    EXPECT_FALSE(is_stage_link(path, target)) << path << " " << target;
  }
}

}  // namespace
}  // namespace mcpbox::box::wire
