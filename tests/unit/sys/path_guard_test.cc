#include "sys/path_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "support/temp_tree.h"
#include "sys/directory.h"
#include "sys/small_file.h"

namespace mcpbox::sys {
namespace {

// Both ways of opening must give the same answers.
class PathGuard : public ::testing::TestWithParam<bool> {
 protected:
  std::expected<UniqueFd, int> open(const std::string& path, int flags = O_RDONLY, bool cross_mounts = true) {
    UniqueFd root(::open(tree_.root().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return open_beneath(root.get(), path, flags, {.cross_mounts = cross_mounts, .force_fallback = GetParam()});
  }
  int error(const std::string& path, int flags = O_RDONLY) {
    auto opened = open(path, flags);
    return opened ? 0 : opened.error();
  }
  test::TempTree tree_;
};
INSTANTIATE_TEST_SUITE_P(, PathGuard, ::testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "component_wise" : "openat2"; });

TEST_P(PathGuard, opens_files_and_directories_beneath) {
  tree_.file("a/b/c.txt", "hello");
  auto file = open("a/b/c.txt");
  ASSERT_TRUE(file);
  EXPECT_EQ(*read_all(file->get(), 100), "hello");
  EXPECT_TRUE(open("a/b", O_PATH | O_DIRECTORY));
}

TEST_P(PathGuard, refuses_links_in_every_position) {
  tree_.file("a/b.txt");
  tree_.link("to_dir", "a");
  tree_.link("to_file", "a/b.txt");
  tree_.link("dangling", "nowhere");
  EXPECT_EQ(error("to_dir/b.txt"), ELOOP);
  EXPECT_EQ(error("to_file"), ELOOP);
  EXPECT_EQ(error("dangling"), ELOOP);
}

TEST_P(PathGuard, hands_out_a_link_itself_for_o_path) {
  tree_.link("link", "/etc/passwd");
  auto link = open("link", O_PATH);
  ASSERT_TRUE(link);
  struct stat status{};
  ASSERT_EQ(::fstat(link->get(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
}

TEST_P(PathGuard, refuses_to_leave_the_directory) {
  EXPECT_EQ(error(".."), EXDEV);
  EXPECT_EQ(error("../x"), EXDEV);
  EXPECT_EQ(error("/etc/passwd"), EXDEV);
}

TEST_P(PathGuard, reports_what_is_missing_or_no_directory) {
  tree_.file("file");
  EXPECT_EQ(error("nothing"), ENOENT);
  EXPECT_EQ(error("file/x"), ENOTDIR);
  EXPECT_EQ(error("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  EXPECT_EQ(error(""), ENOENT);
  EXPECT_EQ(error(std::string("fi\0le", 5)), EINVAL);
}

TEST_P(PathGuard, stops_at_a_mount_point_when_told) {
  UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  BeneathOptions stay{.cross_mounts = false, .force_fallback = GetParam()};
  auto proc = open_beneath(root.get(), "proc", O_PATH | O_DIRECTORY, stay);
  ASSERT_FALSE(proc);
  EXPECT_EQ(proc.error(), EXDEV);
  EXPECT_TRUE(open_beneath(root.get(), "etc", O_PATH | O_DIRECTORY, stay));
}

TEST_P(PathGuard, does_not_block_on_a_fifo_without_a_writer) {
  ASSERT_EQ(::mkfifo(tree_.path("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(open("fifo", O_PATH));
  EXPECT_EQ(error("fifo", O_RDONLY | O_NONBLOCK), 0);
}

TEST(OpenDirectory, wants_a_canonical_absolute_directory) {
  test::TempTree tree;
  tree.dir("real/inner");
  tree.link("alias", "real");
  tree.file("file");
  EXPECT_TRUE(open_directory(tree.path("real/inner")));
  EXPECT_TRUE(open_directory("/"));
  EXPECT_FALSE(open_directory("relative"));
  EXPECT_FALSE(open_directory(tree.path("file")));
  auto through = open_directory(tree.path("alias/inner"));
  ASSERT_FALSE(through);
  EXPECT_EQ(through.error().code(), Code::kPermissionDenied);
}

TEST(ReachDirectory, tells_what_the_walk_passed_and_follows_no_link) {
  test::TempTree tree;
  tree.dir("real/inner");
  tree.file("file");
  tree.link("alias", "real");
  auto reached = reach_directory(tree.path("real/inner"));
  ASSERT_TRUE(reached);
  const auto id = [](const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return id_of(status);
  };
  ASSERT_GE(reached->chain.size(), 3u);
  EXPECT_EQ(reached->chain[0], id(tree.path("real/inner")));
  EXPECT_EQ(reached->chain[1], id(tree.path("real")));
  EXPECT_EQ(reached->chain.back(), id("/"));
  EXPECT_EQ(reached->uid, ::geteuid());
  // What was reached stays that, whatever has its name.
  std::filesystem::rename(tree.path("real/inner"), tree.path("real/gone"));
  struct stat held{};
  ASSERT_EQ(::fstat(reached->fd.get(), &held), 0);
  EXPECT_EQ(id_of(held), id(tree.path("real/gone")));

  EXPECT_EQ(reach_directory("/")->chain.size(), 1u);
  EXPECT_EQ(reach_directory(tree.path("alias/gone")).error().code(), Code::kPermissionDenied);
  EXPECT_EQ(reach_directory(tree.path("alias")).error().code(), Code::kPermissionDenied);
  EXPECT_FALSE(reach_directory(tree.path("file")));
  EXPECT_FALSE(reach_directory("relative"));
}

TEST(Reopen, gives_the_held_inode_after_its_name_went_to_another) {
  test::TempTree tree;
  tree.file("name", "old");
  UniqueFd held(::open(tree.path("name").c_str(), O_PATH | O_CLOEXEC));
  tree.file("other", "new");
  std::filesystem::rename(tree.path("other"), tree.path("name"));
  auto file = reopen(held.get(), O_RDONLY);
  ASSERT_TRUE(file);
  EXPECT_EQ(*read_all(file->get(), 100), "old");
}

TEST(ReadNames, sorts_by_bytes_and_holds_the_limit) {
  test::TempTree tree;
  for (const char* name : {"b", "a", "Z", "\xC3\xA4", ".hidden"}) tree.file(name);
  UniqueFd fd(::open(tree.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto names = read_names(fd.get(), 5);
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (std::vector<std::string>{".hidden", "Z", "a", "b", "\xC3\xA4"}));
  UniqueFd again(::open(tree.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto limited = read_names(again.get(), 4);
  ASSERT_FALSE(limited);
  EXPECT_EQ(limited.error().code(), Code::kResourceExhausted);
}

TEST(ReadAll, holds_the_limit_exactly) {
  test::TempTree tree;
  tree.file("file", std::string(20'000, 'x'));
  UniqueFd fd(::open(tree.path("file").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read_all(fd.get(), 20'000)->size(), 20'000u);
  EXPECT_FALSE(read_all(fd.get(), 19'999));
}

}  // namespace
}  // namespace mcpbox::sys
