#include "sys/small_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "support/temp_tree.h"

namespace mcpbox::sys {
namespace {

using testing::HasSubstr;

TEST(SmallFile, is_read_as_a_whole_and_not_beyond_its_limit) {
  const test::TempTree tree;
  EXPECT_EQ(read_file(tree.file("f", std::string(40000, 'x'))).value_or(""), std::string(40000, 'x'));
  const auto refused = read_file(tree.path("f"), 39999);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr(tree.path("f")));
  EXPECT_THAT(read_file("/proc/self/status").value_or(""), HasSubstr("Name:"));
  EXPECT_EQ(read_file(tree.path("none")).error().code(), Code::kNotFound);
}

TEST(SmallFile, is_not_read_through_a_link_unless_that_is_asked_and_a_pipe_is_not_waited_for) {
  const test::TempTree tree;
  tree.file("f", "content");
  tree.link("l", "f");
  EXPECT_FALSE(read_file(tree.path("l")));
  EXPECT_EQ(read_file(tree.path("l"), 100, Links::kFollow).value_or(""), "content");
  ASSERT_EQ(::mkfifo(tree.path("p").c_str(), 0600), 0);
  EXPECT_FALSE(read_file(tree.path("p")));
}

TEST(SmallFile, is_replaced_as_a_whole_and_private) {
  const test::TempTree tree;
  for (const Durable durable : {Durable::kNo, Durable::kYes}) {
    const std::string path = tree.file("f", "old", 0666);
    ASSERT_TRUE(replace_file(path, "new", durable));
    EXPECT_EQ(read_file(path).value_or(""), "new");
    struct stat status{};
    ASSERT_EQ(::lstat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
}

TEST(SmallFile, the_old_one_stays_when_the_new_one_cannot_be_written) {
  const test::TempTree tree;
  tree.file("dir/precious", "x");
  // A directory cannot be replaced by a file.
  const auto refused = replace_file(tree.path("dir"), "new");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("cannot write " + tree.path("dir") + ": rename"));
  EXPECT_TRUE(std::filesystem::exists(tree.path("dir/precious")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(tree.root()), {}), 1);
  EXPECT_EQ(replace_file(tree.path("no/folder/f"), "x").error().code(), Code::kNotFound);
}

TEST(SmallFile, a_full_disk_is_an_error_of_the_write) {
  UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const auto written = write_all(full.get(), "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(close_written(std::move(full)));
  EXPECT_FALSE(close_written(UniqueFd()));  // EBADF: nothing was closed
}

}  // namespace
}  // namespace mcpbox::sys
