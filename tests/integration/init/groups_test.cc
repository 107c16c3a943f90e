// Control groups that a controller hands to PID 1, as it does with a container's. Only with those of version 1.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCpuGroups = "/sys/fs/cgroup/cpu";

class InitGroup : public Init {
 protected:
  void SetUp() override {
    if (!fs::exists(fs::path(kCpuGroups) / "cpu.cfs_quota_us") || (!fs::create_directory(group) && !fs::exists(group)))
      GTEST_SKIP() << "there are no control groups of version 1 for processors";
    Init::SetUp();
  }
  void TearDown() override {
    Init::TearDown();
    for (const fs::path& each : {group, idle}) {
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (fs::exists(each) && std::chrono::steady_clock::now() < until) {
        std::error_code error;
        for (fs::directory_iterator at(each, error), end; !error && at != end; at.increment(error))
          ::rmdir(at->path().c_str());
        ::rmdir(each.c_str());
      }
    }
  }
  static UniqueFd open_it(const fs::path& path) {
    return UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  UniqueFd open_group() const { return open_it(group); }
  UniqueFd open_idle() const {
    fs::create_directory(idle);
    std::ofstream(idle / "cpu.idle") << "1" << std::flush;
    std::string said;
    EXPECT_TRUE(std::getline(std::ifstream(idle / "cpu.idle"), said) && said == "1");
    return open_it(idle);
  }
  // A mount of its own, attached nowhere.
  UniqueFd open_mount() const {
    const unsigned flags = OPEN_TREE_CLONE | static_cast<unsigned>(OPEN_TREE_CLOEXEC);
    return UniqueFd(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, group.c_str(), flags)));
  }
  static bool make_read_only(int mount) {
    mount_attr read_only{};
    read_only.attr_set = MOUNT_ATTR_RDONLY;
    return ::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &read_only, sizeof read_only) == 0;
  }
  std::string text(const fs::path& path) const {
    std::ifstream file(group / path);
    std::string all{std::istreambuf_iterator<char>(file), {}};
    if (all.ends_with('\n')) all.pop_back();
    return all;
  }
  // Those below it that have somebody of this user.
  std::vector<std::string> groups_of(uid_t uid) const { return groups_of(uid, group); }
  static std::vector<std::string> groups_of(uid_t uid, const fs::path& below) {
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator at(below, error), end; !error && at != end; at.increment(error)) {
      std::ifstream list(at->path() / "cgroup.procs");
      for (std::string pid; std::getline(list, pid);) {
        struct stat info{};
        if (::stat(("/proc/" + pid).c_str(), &info) != 0 || info.st_uid != uid) continue;
        found.push_back(at->path().filename());
        break;
      }
    }
    return found;
  }
  bool become(const std::function<bool()>& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(100);
    while (!wanted() && std::chrono::steady_clock::now() < deadline) {
      loop.restart();
      loop.run_for(std::chrono::milliseconds(50));
    }
    return wanted();
  }

  const fs::path group = fs::path(kCpuGroups) / ("mcpbox-test-" + std::to_string(::getpid()));
  const fs::path idle = group.string() + ".idle";
  const std::vector<std::string> spins = {"sh", "-c",
                                          "for i in 1 2 3 4 5 6 7; do while :; do :; done & done; echo up; wait"};
};

TEST_F(InitGroup, has_one_below_it_for_each_server_as_long_as_that_is_there) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), {}, 500})), succeeds());
  auto what = spec("one", {"sh", "-c", "echo /proc/self/fd/*; cat"});
  what.server.cpus = 2;
  auto one = must_spawn(what);
  auto two = must_spawn(spec("two", {"sh", "-c", "echo /proc/self/fd/*; cat"}, kBob));
  // What the shell opens to look is the fourth.
  EXPECT_EQ(read_line(one.pipes.out.get()), "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3")
      << "no server has the group";
  const auto of_one = groups_of(kAlice), of_two = groups_of(kBob);
  ASSERT_EQ(of_one.size(), 1u);
  ASSERT_EQ(of_two.size(), 1u);
  EXPECT_NE(of_one, of_two);
  EXPECT_EQ(text(fs::path(of_one[0]) / "cpu.cfs_quota_us"), "50000") << "no more than the sandbox may use";
  EXPECT_EQ(text(fs::path(of_two[0]) / "cpu.cfs_quota_us"), "-1");
  EXPECT_EQ(text("cgroup.procs"), "") << "PID 1 stays where it was";
  EXPECT_EQ(fs::status(group / of_one[0]).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
  ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds());
  exit_of("one");
  ASSERT_THAT(run(supervisor->forget("one")), succeeds());
  EXPECT_TRUE(become([&] { return !fs::exists(group / of_one[0]); }));
  EXPECT_TRUE(fs::exists(group / of_two[0]));
}

TEST_F(InitGroup, is_the_one_that_it_was_given_first) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), {}, 0})), succeeds());
  auto one = must_spawn(spec("one", {"cat"}));
  auto again = connect();
  ASSERT_TRUE(again);
  EXPECT_THAT(run(again->take_group({UniqueFd(::open("/tmp", O_PATH | O_CLOEXEC)), {}, 0})), succeeds())
      << "it is not looked at";
  auto two = run(again->spawn(spec("two", {"cat"}, kBob)));
  ASSERT_THAT(two, succeeds());
  EXPECT_EQ(groups_of(kAlice).size(), 1u);
  EXPECT_EQ(groups_of(kBob).size(), 1u);
}

TEST_F(InitGroup, comes_too_late_when_a_server_runs_without_one) {
  auto one = must_spawn(spec("one", {"cat"}));
  EXPECT_THAT(run(supervisor->take_group({open_group(), {}, 0})),
              fails(Code::kFailedPrecondition, "servers run without"));
  EXPECT_EQ(output_of(spec("two", {"echo", "here"}, kBob)).out, "here\n");
  ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds());
  exit_of("one");
  EXPECT_THAT(run(supervisor->take_group({open_group(), {}, 0})), succeeds());
}

TEST_F(InitGroup, puts_who_presses_behind_the_others_and_leaves_priorities_alone) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), {}, 0})), succeeds());
  auto spinner = must_spawn(spec("spinner", spins));
  auto neighbour = must_spawn(spec("neighbour", {"sh", "-c", "echo up; cat"}, kBob));
  for (auto* each : {&spinner, &neighbour}) EXPECT_EQ(read_line(each->pipes.out.get()), "up");
  const auto hog = groups_of(kAlice), other = groups_of(kBob);
  ASSERT_EQ(hog.size(), 1u);
  ASSERT_EQ(other.size(), 1u);
  // Before Linux 5.15 it is the weight alone.
  EXPECT_TRUE(become(
      [&] { return text(fs::path(hog[0]) / "cpu.idle") == "1" || text(fs::path(hog[0]) / "cpu.shares") == "2"; }));
  EXPECT_NE(text(fs::path(other[0]) / "cpu.idle"), "1");
  EXPECT_EQ(text(fs::path(other[0]) / "cpu.shares"), "256");
  EXPECT_EQ(priorities_of(kAlice), std::set<int>{0});
}

// Kernels before 5.15 have no idle groups: nothing of this is used there.
class InitGroupApart : public InitGroup {
  void SetUp() override {
    if (!fs::exists(fs::path(kCpuGroups) / "cpu.idle")) GTEST_SKIP() << "the kernel knows no idle groups";
    InitGroup::SetUp();
  }
};

TEST_F(InitGroupApart, who_presses_is_moved_to_the_one_for_that_with_all_his_processes_and_back_when_he_does_not) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), open_idle(), 0})), succeeds());
  auto neighbour = must_spawn(spec("neighbour", {"sh", "-c", "echo up; cat"}, kBob));
  auto spinner = must_spawn(spec("spinner", {"sh", "-c",
                                             "for i in 1 2 3 4 5 6 7; do { while :; do :; done; } & p=\"$p $!\"; done; "
                                             "echo up; read line; kill $p; echo rests; cat"}));
  for (auto* each : {&spinner, &neighbour}) EXPECT_EQ(read_line(each->pipes.out.get()), "up");
  const auto hog = groups_of(kAlice);
  ASSERT_EQ(hog.size(), 1u);
  EXPECT_TRUE(become([&] { return groups_of(kAlice).empty() && groups_of(kAlice, idle) == hog; }));
  EXPECT_TRUE(groups_of(kBob, idle).empty());
  EXPECT_EQ(groups_of(kBob).size(), 1u);
  ASSERT_EQ(::write(spinner.pipes.in.get(), "\n", 1), 1);
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "rests");
  EXPECT_TRUE(become([&] { return groups_of(kAlice, idle).empty() && groups_of(kAlice) == hog; }));
  ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds());
  exit_of("spinner");
  ASSERT_THAT(run(supervisor->forget("spinner")), succeeds());
  EXPECT_TRUE(become([&] { return !fs::exists(group / hog[0]) && !fs::exists(idle / hog[0]); }));
}

// However many they are.
TEST_F(InitGroupApart, who_has_a_crowd_is_moved_as_a_whole_and_back_as_a_whole) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), open_idle(), 0})), succeeds());
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  auto crowd = must_spawn(spec("crowd", {"sh", "-c",
                                         "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; "
                                         "{ while :; do :; done; } & a=$!; { while :; do :; done; } & b=$!; "
                                         "echo up; read line; kill $a $b; echo rests; cat"}));
  EXPECT_EQ(read_line(crowd.pipes.out.get()), "up");
  EXPECT_TRUE(become([&] { return groups_of(kAlice).empty() && groups_of(kAlice, idle).size() == 1; }));
  ASSERT_EQ(::write(crowd.pipes.in.get(), "\n", 1), 1);
  EXPECT_EQ(read_line(crowd.pipes.out.get()), "rests");
  EXPECT_TRUE(become([&] { return groups_of(kAlice, idle).empty() && groups_of(kAlice).size() == 1; }));
}

// It is named for what it did, and needs to do nothing again for that.
TEST_F(InitGroupApart, who_passed_a_limit_begins_there_when_it_comes_again_soon) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), open_idle(), 0})), succeeds());
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  auto crowd = spec("crowd", {"sh", "-c", "i=0; while [ $i -lt 24 ]; do sleep 1000 & i=$((i+1)); done; wait"});
  crowd.server.processes = 20;
  auto first = must_spawn(crowd);
  EXPECT_EQ(exit_of("crowd").signal, SIGKILL);
  ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds()) << "nobody of it is left";
  ASSERT_THAT(run(supervisor->forget("crowd")), succeeds());
  auto again = must_spawn(spec("again", {"cat"}));
  bool there = false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (; !there && std::chrono::steady_clock::now() < deadline; there = groups_of(kAlice, idle).size() == 1) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(there);
  EXPECT_TRUE(become([&] { return groups_of(kAlice, idle).empty(); })) << "it rests";
}

TEST_F(InitGroupApart, nobody_leaves_whose_sandbox_may_use_less_than_the_machine_has) {
  ASSERT_THAT(run(supervisor->take_group({open_group(), open_idle(), 900})), succeeds());
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  auto spinner = must_spawn(spec("spinner", spins));
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "up");
  const auto hog = groups_of(kAlice);
  ASSERT_EQ(hog.size(), 1u);
  EXPECT_TRUE(become([&] { return text(fs::path(hog[0]) / "cpu.idle") == "1"; }));
  loop.restart();
  loop.run_for(std::chrono::seconds(1));
  EXPECT_TRUE(groups_of(kAlice, idle).empty());
}

TEST_F(InitGroup, is_not_taken_when_no_group_can_be_made_there_and_servers_start_without) {
  EXPECT_THAT(run(supervisor->take_group({UniqueFd(::open("/tmp", O_PATH | O_CLOEXEC)), {}, 0})),
              fails(Code::kInvalidArgument, "none of version 1"));
  UniqueFd closed = open_mount();
  ASSERT_TRUE(closed);
  ASSERT_TRUE(make_read_only(closed.get()));
  EXPECT_THAT(run(supervisor->take_group({std::move(closed), {}, 0})), fails(Code::kPermissionDenied));
  EXPECT_EQ(output_of(spec("one", {"echo", "here"})).out, "here\n");
  EXPECT_EQ(output_of(spec("none", {"grep", "-c", "mcpbox-test", "/proc/self/cgroup"})).out, "0\n");
  // As ever, by priority.
  auto spinner = must_spawn(spec("spinner", spins));
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  EXPECT_TRUE(become([] { return priorities_of(kAlice) == std::set<int>{kIdle}; }));
}

// It starts all the same; by its group, where nobody is, nobody would be put behind.
TEST_F(InitGroup, puts_who_could_have_none_behind_by_priority) {
  // Their places are taken.
  for (int n = 1; n < 9; ++n) ASSERT_TRUE(fs::create_directory(group / ("s" + std::to_string(n))));
  ASSERT_THAT(run(supervisor->take_group({open_group(), {}, 0})), succeeds());
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  auto spinner = must_spawn(spec("spinner", spins));
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "up");
  EXPECT_TRUE(groups_of(kAlice).empty());
  EXPECT_TRUE(become([] { return priorities_of(kAlice) == std::set<int>{kIdle}; }));
}

}  // namespace
}  // namespace mcpbox::test
