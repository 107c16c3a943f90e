// Who has which project, against a file system that is played: no kernel with quotas is needed.
#include "box/native/project_quota.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <utility>

#include "box/engine.h"
#include "support/result_matcher.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

using test::fails;
using test::succeeds;

constexpr std::uint32_t kWish = 1'900'000'005;

UniqueFd open_at(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
}

// Counts the inodes that it was told of, as long as they are there.
class PlayedQuotas final : public QuotaCalls {
 public:
  Result<bool> enforced(int) const override { return true; }
  Result<FolderProject> project(int at) const override {
    const auto found = inodes_.find(key_of(at));
    return found == inodes_.end() ? FolderProject{} : found->second.project;
  }
  Result<void> set_project(int at, FolderProject project) const override {
    Inode& inode = inodes_[key_of(at)];
    inode.project = project;
    inode.open.reset(::dup(at));
    if (after_set) after_set(project.id);
    return {};
  }
  Result<ProjectUse> use(int, std::uint32_t id) const override {
    ProjectUse use{id};
    for (const auto& [key, inode] : inodes_) {
      if (inode.project.id == id && is_there(inode.open.get())) ++use.files;
    }
    use.files += others.contains(id) ? others.at(id) : 0;
    use.limited = limits.contains(id);
    return use;
  }
  // As Linux goes through the tree of ext4's quotas: what is below a branch that is not there is left out, and the
  // lower part of the number stays.
  Result<std::optional<ProjectUse>> next(int at, std::uint32_t from) const override {
    std::uint64_t id = from;
    const auto missing = [&](unsigned bits) {
      const std::uint64_t begin = id >> bits << bits;
      const auto found = limits.lower_bound(static_cast<std::uint32_t>(begin));
      return found == limits.end() || found->first >= begin + (1ull << bits);
    };
    while (id >> 32 == 0) {
      constexpr std::array kBits{24u, 16u, 8u, 0u};
      const auto gap = std::ranges::find_if(kBits, missing);
      if (gap == kBits.end()) return *use(at, static_cast<std::uint32_t>(id));
      id += 1ull << *gap;
    }
    return std::nullopt;
  }
  Result<void> limit(int, std::uint32_t id, std::uint64_t bytes, std::uint64_t files) const override {
    limits[id] = {bytes, files};
    if (bytes == 0 && files == 0) limits.erase(id);
    return {};
  }

  FolderProject at(const std::string& path) const { return *project(open_at(path).get()); }

  mutable std::map<std::uint32_t, std::uint64_t> others;  // inodes of other instances, by project
  mutable std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>> limits;
  std::function<void(std::uint32_t id)> after_set;

 private:
  struct Inode {
    FolderProject project;
    UniqueFd open;
  };
  static std::pair<dev_t, ino_t> key_of(int at) {
    struct stat info{};
    EXPECT_EQ(::fstat(at, &info), 0);
    return {info.st_dev, info.st_ino};
  }
  static bool is_there(int at) {
    std::error_code error;
    const auto place = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(at), error);
    return !place.string().ends_with(" (deleted)");
  }
  mutable std::map<std::pair<dev_t, ino_t>, Inode> inodes_;
};

struct Projects : testing::Test {
  Result<std::uint32_t> claim(const std::vector<std::string>& folders) {
    std::vector<UniqueFd> open;
    for (const std::string& folder : folders) open.push_back(open_at(tree.dir(folder)));
    return claim_project(quotas, open, kWish);
  }
  bool has(const std::string& path, std::uint32_t id, bool inherited) const {
    return quotas.at(tree.path(path)) == FolderProject{id, inherited};
  }

  test::TempTree tree;
  PlayedQuotas quotas;
};

TEST_F(Projects, a_server_gets_the_number_of_its_user_for_all_of_its_folders) {
  const auto id = claim({"one", "two"});
  ASSERT_THAT(id, succeeds());
  EXPECT_EQ(*id, kWish);
  EXPECT_TRUE(has("one", kWish, true));
  EXPECT_TRUE(has("two", kWish, true));
}

TEST_F(Projects, a_number_that_any_inode_has_is_nobody_elses) {
  quotas.others[kWish] = 7;
  const auto id = claim({"one"});
  ASSERT_THAT(id, succeeds());
  EXPECT_NE(*id, kWish);
  EXPECT_GE(*id, UidRange().first);
  EXPECT_LT(*id - UidRange().first, UidRange().count);
  EXPECT_TRUE(has("one", *id, true));
}

TEST_F(Projects, of_two_who_want_one_number_at_the_same_time_none_has_it) {
  quotas.after_set = [&](std::uint32_t id) {
    if (id == kWish) quotas.others[id] = 1;
  };
  const auto id = claim({"one"});
  ASSERT_THAT(id, succeeds());
  EXPECT_NE(*id, kWish);
  EXPECT_TRUE(has("one", *id, true));
}

TEST_F(Projects, a_number_is_kept_and_its_limit_is_lifted_for_the_next_start) {
  ASSERT_THAT(claim({"one"}), succeeds());
  quotas.limits[kWish] = {1 << 20, 100};
  quotas.others[kWish] = 500;  // what was made in the folder
  const auto again = claim({"one"});
  ASSERT_THAT(again, succeeds());
  EXPECT_EQ(*again, kWish);
  EXPECT_FALSE(quotas.limits.contains(kWish));
}

TEST_F(Projects, a_claim_that_was_cut_off_begins_anew) {
  ASSERT_THAT(quotas.set_project(open_at(tree.dir("one")).get(), {kWish + 1, false}), succeeds());
  const auto id = claim({"one"});
  ASSERT_THAT(id, succeeds());
  EXPECT_EQ(*id, kWish);
  EXPECT_TRUE(has("one", kWish, true));
}

TEST_F(Projects, a_folder_of_somebody_elses_project_stays_his) {
  ASSERT_THAT(quotas.set_project(open_at(tree.dir("one")).get(), {42, true}), succeeds());
  EXPECT_THAT(claim({"one"}), fails(Code::kFailedPrecondition, "project 42"));
  EXPECT_THAT(claim({"two", "one"}), fails(Code::kFailedPrecondition, "project 42"));
  EXPECT_TRUE(has("one", 42, true));
  EXPECT_TRUE(has("two", 0, false));
}

// A link with another project than its folder could not be renamed in it.
TEST_F(Projects, what_was_in_a_folder_before_comes_along) {
  tree.file("one/deep/er/file", "x");
  if (::geteuid() == 0) tree.file("one/deep/secret", "x", 0);
  tree.link("one/deep/link", "er/file");
  struct stat before{}, after{};
  ASSERT_EQ(::lstat(tree.path("one/deep/link").c_str(), &before), 0);
  const UniqueFd kept(::open(tree.path("one/deep/link").c_str(), O_PATH | O_NOFOLLOW));  // its number is not used again
  ASSERT_THAT(claim({"one"}), succeeds());
  EXPECT_TRUE(has("one/deep", kWish, true));
  EXPECT_TRUE(has("one/deep/er", kWish, true));
  EXPECT_TRUE(has("one/deep/er/file", kWish, false));
  if (::geteuid() == 0) EXPECT_TRUE(has("one/deep/secret", kWish, false));
  ASSERT_EQ(::lstat(tree.path("one/deep/link").c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_uid, after.st_uid);
  EXPECT_EQ(std::filesystem::read_symlink(tree.path("one/deep/link")), "er/file");
}

TEST_F(Projects, a_link_out_of_the_folder_is_not_followed) {
  tree.file("other/file", "x");
  tree.dir("one");
  tree.link("one/out", tree.path("other"));
  ASSERT_THAT(claim({"one"}), succeeds());
  EXPECT_TRUE(has("other", 0, false));
  EXPECT_TRUE(has("other/file", 0, false));
}

TEST_F(Projects, what_lies_beside_a_servers_folders_is_counted_apart) {
  tree.file("one/home/file", std::string(100'000, 'x'));
  tree.file("one/kept/file", std::string(100'000, 'x'));
  const auto use = use_beside(open_at(tree.path("one")).get(), {"home"});
  ASSERT_THAT(use, succeeds());
  EXPECT_EQ(use->files, 2u);
  EXPECT_GE(use->bytes, 90'000u);
  EXPECT_LT(use->bytes, 190'000u);
}

TEST_F(Projects, limits_go_with_the_last_inode_and_no_sooner) {
  ASSERT_THAT(claim({"one"}), succeeds());
  for (const std::uint32_t id : {42u, kWish, kWish + 1, kWish + 2}) quotas.limits[id] = {1 << 20, 100};
  quotas.others[kWish + 2] = 3;
  ASSERT_THAT(drop_unused_limits(quotas, tree.dir("base")), succeeds());
  EXPECT_TRUE(quotas.limits.contains(42)) << "not one of ours";
  EXPECT_TRUE(quotas.limits.contains(kWish));
  EXPECT_FALSE(quotas.limits.contains(kWish + 1));
  EXPECT_TRUE(quotas.limits.contains(kWish + 2));
  EXPECT_TRUE(std::filesystem::is_empty(tree.path("base")));
}

TEST_F(Projects, a_limit_goes_however_far_it_is_from_the_others) {
  for (const std::uint32_t id : {0x71000001u, 0x71400000u, 0x72000001u, 0x7E000000u, 0xF0000000u})
    quotas.limits[id] = {1 << 20, 100};
  ASSERT_THAT(drop_unused_limits(quotas, tree.dir("base")), succeeds());
  EXPECT_EQ(quotas.limits.size(), 2u);
  EXPECT_TRUE(quotas.limits.contains(0x71000001) && quotas.limits.contains(0xF0000000)) << "not ours";
}

TEST_F(Projects, a_limit_whose_number_somebody_takes_at_that_moment_stays) {
  quotas.limits[kWish] = {1 << 20, 100};
  quotas.after_set = [&](std::uint32_t id) { quotas.others[id] = 1; };
  ASSERT_THAT(drop_unused_limits(quotas, tree.dir("base")), succeeds());
  EXPECT_TRUE(quotas.limits.contains(kWish));
}

}  // namespace
}  // namespace mcpbox::box
