#include "workspace/folder_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/result_matcher.h"
#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using SeenKind = FolderReader::Kind;

class FolderReading : public ::testing::Test {
 protected:
  Result<std::string> text(const std::string& relative, std::size_t limit = 100) {
    return reader_.text(p_, tree_.path(relative), limit);
  }
  SeenKind kind(const std::string& relative) { return reader_.look(p_, tree_.path(relative)).kind; }

  test::TempTree tree_;
  FolderReader::Within p_{tree_.dir("p")};
  FolderReader reader_;
};

TEST_F(FolderReading, follows_links_that_stay_in_the_folder) {
  tree_.file("p/a/f", "content");
  tree_.link("p/to_file", "a/f");
  tree_.link("p/to_dir", "./a");
  tree_.link("p/a/up", "../to_file");
  tree_.link("p/twice", "to_dir/up");
  tree_.link("p/a/here", "..");
  for (const char* path : {"p/a/f", "p/to_file", "p/to_dir/f", "p/a/up", "p/twice", "p/a/here/a/f"}) {
    EXPECT_EQ(kind(path), SeenKind::kFile) << path;
    EXPECT_EQ(text(path).value_or("nothing"), "content") << path;
  }
  EXPECT_EQ(kind("p/to_dir"), SeenKind::kDirectory);
  EXPECT_EQ(kind("p/a/here"), SeenKind::kDirectory);
}

TEST_F(FolderReading, tells_links_that_leave_the_folder_and_does_not_follow_them) {
  tree_.file("secret", "hunter2");
  tree_.file("p/a/f");
  tree_.link("p/absolute", tree_.path("secret"));
  tree_.link("p/relative", "../secret");
  tree_.link("p/a/deep", "../../secret");
  tree_.link("p/dir", "..");
  tree_.link("p/self", ".");
  tree_.link("p/round", "self/../secret");
  tree_.link("p/over", "absolute");
  for (const char* path : {"p/absolute", "p/relative", "p/a/deep", "p/dir/secret", "p/round", "p/over"}) {
    EXPECT_EQ(kind(path), SeenKind::kLeaves) << path;
    EXPECT_THAT(text(path), test::fails(Code::kPermissionDenied, "lies outside of '" + tree_.path("p") + "'")) << path;
  }
  EXPECT_THAT(
      reader_.look(p_, tree_.path("p/relative")).why,
      AllOf(HasSubstr("'" + tree_.path("p/relative") + "' is a link to '../secret'"), HasSubstr("box.host_path")));
  EXPECT_THAT(text("secret"), test::fails(Code::kPermissionDenied));
}

TEST_F(FolderReading, reads_no_folder_that_became_a_link) {
  tree_.file("other/f", "hunter2");
  tree_.link("q", "other");
  const FolderReader::Within q{tree_.path("q")};
  EXPECT_EQ(reader_.look(q, tree_.path("q/f")).kind, SeenKind::kNothing);
  EXPECT_FALSE(reader_.text(q, tree_.path("q/f"), 100));
}

TEST_F(FolderReading, reads_each_file_once) {
  tree_.file("p/f", "one");
  tree_.link("p/l", "f");
  EXPECT_EQ(text("p/f").value_or(""), "one");
  tree_.file("p/f", "two");
  EXPECT_EQ(text("p/f").value_or(""), "one");
  EXPECT_EQ(text("p/l").value_or(""), "one");
  std::filesystem::remove(tree_.path("p/f"));
  EXPECT_EQ(text("p/f").value_or(""), "one");
  EXPECT_THAT(text("p/f", 2), test::fails(Code::kResourceExhausted));
  const auto reads = reader_.reads();
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[1].path, tree_.path("p/l"));
  EXPECT_EQ(reads[1].real, tree_.path("p/f"));
  EXPECT_EQ(reads[1].text, "one");
}

TEST_F(FolderReading, ends_at_what_is_no_file) {
  tree_.link("p/one", "two");
  tree_.link("p/two", "one");
  tree_.link("p/dangling", "nowhere");
  ASSERT_EQ(::mkfifo(tree_.path("p/fifo").c_str(), 0600), 0);
  EXPECT_EQ(kind("p/one"), SeenKind::kNothing);
  EXPECT_EQ(kind("p/dangling"), SeenKind::kNothing);
  EXPECT_EQ(kind("p/nothing"), SeenKind::kNothing);
  EXPECT_EQ(kind("p/fifo"), SeenKind::kOther);
  EXPECT_THAT(text("p/dangling"), test::fails(Code::kNotFound));
  EXPECT_THAT(text("p/fifo"), test::fails(Code::kInvalidArgument, "not a regular file"));
  EXPECT_THAT(text("p"), test::fails(Code::kInvalidArgument, "not a regular file"));
  tree_.file("p/large", std::string(101, 'x'));
  EXPECT_THAT(text("p/large"), test::fails(Code::kResourceExhausted));
}

}  // namespace
}  // namespace mcpbox::workspace
