#include "box/init/disk_gauge.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "box/init/tree_walk.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMegabyte = 1 << 20;

struct Walks : testing::Test {
  bool due(std::uint64_t free_mib, std::uint64_t free_files = 100'000, bool urgent = false) const {
    return gauge.due({free_mib * kMegabyte, free_files}, urgent, now);
  }
  std::optional<wire::PassedLimit> walked(std::uint64_t mib, std::uint64_t files, std::uint64_t free_mib) {
    gauge.walked({mib * kMegabyte, files, {{kDisk, mib * kMegabyte}}}, {free_mib * kMegabyte, 100'000}, 1ms, now);
    return gauge.passed({mib * kMegabyte, files}, now);
  }

  DiskGauge gauge{wire::ServerLimits{0, 0, 100 * kMegabyte, 1000, {}, {}}};
  DiskGauge::TimePoint now{};
  static constexpr std::uint64_t kDisk = 7;
};

TEST_F(Walks, the_first_one_is_due_at_once_and_the_next_one_when_the_disk_lost_much) {
  EXPECT_TRUE(due(1000));
  EXPECT_FALSE(walked(20, 10, 1000));
  now += 1s;
  EXPECT_FALSE(due(1000));
  EXPECT_FALSE(due(961));
  EXPECT_TRUE(due(960));  // half of what is left of its limit
  EXPECT_TRUE(due(1000, 99'000));
  EXPECT_FALSE(due(2000, 200'000));
}

TEST_F(Walks, are_sooner_the_nearer_the_limit_is) {
  walked(99, 10, 1000);
  now += 1s;
  EXPECT_TRUE(due(999));
  walked(99, 999, 999);
  now += 1s;
  EXPECT_TRUE(due(999, 99'900));
}

TEST_F(Walks, come_one_after_the_other_while_a_tree_grows) {
  walked(20, 10, 1000);
  now += 1s;
  walked(30, 10, 990);
  now += 99ms;
  EXPECT_FALSE(due(0));
  now += 301ms;
  EXPECT_TRUE(due(990));
}

TEST_F(Walks, rest_three_times_as_long_as_they_took) {
  gauge.walked({20 * kMegabyte, 10}, {1000 * kMegabyte, 100'000}, 1s, now);
  now += 2900ms;
  EXPECT_FALSE(due(0, 0, true));
  now += 100ms;
  EXPECT_TRUE(due(0));
}

TEST_F(Walks, come_now_and_then_whatever_the_disk_says) {
  walked(20, 10, 1000);
  now += DiskGauge::kSlow;
  EXPECT_TRUE(due(5000));
}

TEST_F(Walks, are_urgent_when_a_culprit_is_looked_for) {
  walked(20, 10, 1000);
  now += DiskGauge::kFast;
  EXPECT_TRUE(due(1000, 100'000, true));
}

TEST_F(Walks, say_which_limit_was_passed_and_by_what) {
  EXPECT_FALSE(walked(100, 1000, 1000));
  EXPECT_EQ(walked(101, 5000, 1000), (wire::PassedLimit{wire::LimitKind::kDisk, 100 * kMegabyte, 101 * kMegabyte}));
  EXPECT_FALSE(walked(102, 1, 1000));  // it is being ended
  now += DiskGauge::kAgain;
  EXPECT_EQ(walked(10, 1001, 1000), (wire::PassedLimit{wire::LimitKind::kFiles, 1000, 1001}));
}

// What the file system still lets it write is less than the room that it has beyond its limits (wire/disk_room.h).
TEST_F(Walks, are_not_waited_for_where_the_file_system_knows) {
  const FreeSpace disk{1000 * kMegabyte, 100'000};
  EXPECT_FALSE(gauge.refused({2 * kMegabyte, 200}, disk, now)) << "the limit itself";
  const auto bytes = gauge.refused({kMegabyte, 5000}, disk, now);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->which, wire::LimitKind::kDisk);
  EXPECT_EQ(bytes->bound, 100 * kMegabyte);
  EXPECT_EQ(bytes->use, 101 * kMegabyte);
  EXPECT_FALSE(gauge.refused({0, 0}, disk, now)) << "it was said just now";
  now += DiskGauge::kAgain;
  const auto files = gauge.refused({50 * kMegabyte, 0}, disk, now);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->which, wire::LimitKind::kFiles);
  EXPECT_EQ(files->use, 1200u);
}

TEST_F(Walks, blame_nobody_for_a_disk_that_is_full_for_all) {
  EXPECT_FALSE(gauge.refused({0, 0}, {kMegabyte, 100}, now));
}

TEST_F(Walks, know_who_grew_lately) {
  EXPECT_EQ(gauge.grown(kDisk, now), 0u);
  walked(10, 1, 1000);
  now += 1h;
  EXPECT_EQ(gauge.grown(kDisk, now), 0u);
  walked(30, 1, 1000);
  EXPECT_EQ(gauge.grown(kDisk, now), 20 * kMegabyte);
  now += 5s;
  walked(20, 1, 1000);
  EXPECT_EQ(gauge.grown(kDisk, now), 10 * kMegabyte);
  now += DiskGauge::kLately;
  walked(20, 1, 1000);
  EXPECT_EQ(gauge.grown(kDisk, now), 0u);
}

// The floor of one disk is held against nobody who grew on another one.
TEST_F(Walks, know_on_which_disk_it_was) {
  constexpr std::uint64_t kOther = 8;
  gauge.walked({30 * kMegabyte, 1, {{kDisk, 10 * kMegabyte}, {kOther, 20 * kMegabyte}}}, {}, 1ms, now);
  now += 1s;
  gauge.walked({80 * kMegabyte, 1, {{kDisk, 60 * kMegabyte}, {kOther, 20 * kMegabyte}}}, {}, 1ms, now);
  EXPECT_EQ(gauge.grown(kDisk, now), 50 * kMegabyte);
  EXPECT_EQ(gauge.grown(kOther, now), 0u);
  EXPECT_EQ(gauge.grown(9, now), 0u);
}

TEST_F(Walks, are_not_for_who_has_no_limit) {
  EXPECT_FALSE(DiskGauge(wire::ServerLimits{}).due({}, true, now));
}

TEST(Floor, is_a_twentieth_and_at_most_a_gibibyte) {
  EXPECT_EQ(floor_of(100 * kMegabyte), 5 * kMegabyte);
  EXPECT_EQ(floor_of(1ull << 50), 1ull << 30);
}

struct TreeWalkTest : testing::Test {
  TreeWalkTest() {
    std::string pattern = testing::TempDir() + "walk-XXXXXX";
    root = ::mkdtemp(pattern.data());
  }
  ~TreeWalkTest() override { std::filesystem::remove_all(root); }
  void write(const std::string& name, std::size_t size) const {
    std::ofstream(root + "/" + name) << std::string(size, 'x');
  }
  TreeUse walk(unsigned step = 1000) const {
    TreeWalk walk({root + "/none", root}, true);
    while (walk.step(step)) {
    }
    return walk.use();
  }

  std::string root;
};

TEST_F(TreeWalkTest, counts_everything_in_whatever_steps) {
  std::filesystem::create_directories(root + "/a/b/c");
  for (int i = 0; i < 5; ++i) write("a/b/" + std::to_string(i), 8192);
  EXPECT_EQ(walk().files, 8u);
  EXPECT_GE(walk().bytes, 5u * 8192);
  for (unsigned step = 1; step < 20; ++step) EXPECT_EQ(walk(step).files, 8u) << step;
}

TEST_F(TreeWalkTest, counts_a_file_once_whatever_names_it_has) {
  write("one", 1 << 20);
  const std::uint64_t before = walk().bytes;
  for (int i = 0; i < 7; ++i) std::filesystem::create_hard_link(root + "/one", root + "/" + std::to_string(i));
  EXPECT_EQ(walk().files, 8u);
  EXPECT_LE(walk().bytes, before + 8);
}

TEST_F(TreeWalkTest, follows_no_link) {
  std::filesystem::create_directory_symlink("/usr", root + "/link");
  EXPECT_EQ(walk().files, 1u);
  TreeWalk link({root + "/link"}, true);
  EXPECT_FALSE(link.step(10));
  EXPECT_EQ(link.use().files, 0u);
}

TEST_F(TreeWalkTest, goes_no_deeper_than_it_may_and_hides_nothing_there) {
  std::filesystem::path deep = root;
  for (std::size_t i = 0; i <= TreeWalk::kMaxDepth; ++i) deep /= "d";
  std::filesystem::create_directories(deep);
  EXPECT_GE(walk().files, TreeWalk::kTooDeep);
  EXPECT_GE(TreeWalk::kTooDeep, 1'000'000'000u) << "a limit of files could allow it";
}

TEST_F(TreeWalkTest, knows_what_came_later) {
  write("before", 1 << 20);
  ::usleep(20'000);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  ::usleep(20'000);
  write("after", 1 << 20);
  std::filesystem::rename(root + "/before", root + "/renamed");
  TreeWalk walk({root}, true,
                static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec));
  while (walk.step(100)) {
  }
  EXPECT_EQ(walk.use().files, 2u);
  EXPECT_EQ(walk.fresh().files, 1u);
}

TEST_F(TreeWalkTest, says_when_there_are_no_descriptors_left) {
  std::filesystem::create_directories(root + "/a/b/c/d");
  TreeWalk walk({root}, true);
  ASSERT_TRUE(walk.step(1));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  while (walk.step(100)) {
  }
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(walk.starved());
  EXPECT_EQ(this->walk().files, 4u);
}

// Root may search any folder, so a user without a name does it, with somebody who closes it all the time.
TEST_F(TreeWalkTest, nothing_is_hidden_by_taking_rights_away_again_and_again) {
  if (::getuid() != 0) return;
  std::filesystem::create_directory(root + "/in");
  for (int i = 0; i < 300; ++i) write("in/" + std::to_string(i), 1);
  ASSERT_EQ(::chown((root + "/in").c_str(), 54'321, 54'321), 0);
  ASSERT_EQ(::chmod(root.c_str(), 0755), 0);
  const pid_t closer = ::fork();
  if (closer == 0) {
    while (true) ::chmod((root + "/in").c_str(), 0);
  }
  ::setfsuid(54'321);
  unsigned lost = 0;
  for (int i = 0; i < 100; ++i) lost += walk().files < 301 ? 1 : 0;
  ::setfsuid(0);
  ::kill(closer, SIGKILL);
  ::waitpid(closer, nullptr, 0);
  EXPECT_EQ(lost, 0u);
}

TEST_F(TreeWalkTest, leaves_the_modes_of_folders_as_they_are) {
  std::filesystem::create_directories(root + "/closed/in");
  ASSERT_EQ(::chmod((root + "/closed").c_str(), 0300), 0);
  EXPECT_EQ(walk().files, 2u);
  struct stat info{};
  ASSERT_EQ(::stat((root + "/closed").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0300u);
  ASSERT_EQ(::chmod((root + "/closed").c_str(), 0700), 0);
}

}  // namespace
}  // namespace mcpbox::box::init
