// Which groups a native sandbox gets, in trees that look like those of both versions of control groups.
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "box/init/event_loop.h"
#include "box/init/group_mover.h"
#include "box/init/server_groups.h"
#include "box/native/cgroups.h"
#include "support/temp_tree.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

using Value = wire::GroupSetting::Value;

struct NativeCgroups : testing::Test {
  test::TempTree tree;
  SandboxLimits limits{.memory_bytes = 512ull << 20, .cpus = 1.5, .processes = 99};

  std::vector<wire::BuildCgroup> groups() {
    return cgroups_for(tree.root(), prepare_cgroups(tree.root()), "box.1", limits);
  }
  void make_first() {
    for (const char* file : {"memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "pids/cgroup.procs",
                             "cpu/cpu.cfs_quota_us"})
      tree.file(file);
  }
};

TEST_F(NativeCgroups, version_1_has_a_group_for_each_controller) {
  make_first();
  const auto made = groups();
  ASSERT_EQ(made.size(), 3u);
  EXPECT_EQ(made[0].directory, tree.path("memory/mcpbox/box.1"));
  EXPECT_EQ(made[0].settings,
            (std::vector<std::string>{"memory.limit_in_bytes=536870912", "memory.memsw.limit_in_bytes=536870912"}));
  EXPECT_EQ(made[0].servers, (std::vector<wire::GroupSetting>{{Value::kMemory, "memory.limit_in_bytes"},
                                                              {Value::kMemory, "memory.memsw.limit_in_bytes"}}));
  EXPECT_EQ(made[0].kills, "memory.oom_control");
  EXPECT_EQ(made[0].notify, "cgroup.event_control");
  EXPECT_EQ(made[1].settings, std::vector<std::string>{"pids.max=99"});
  EXPECT_EQ(made[1].servers, (std::vector<wire::GroupSetting>{{Value::kProcesses, "pids.max"}}));
  EXPECT_EQ(made[2].settings, (std::vector<std::string>{"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"}));
  EXPECT_EQ(made[2].servers, (std::vector<wire::GroupSetting>{{Value::kQuota, "cpu.cfs_quota_us"}}));
  for (const wire::BuildCgroup& group : made) EXPECT_TRUE(group.pass_on.empty());
}

TEST_F(NativeCgroups, version_1_has_one_for_who_is_behind_where_the_kernel_knows_idle_groups) {
  make_first();
  EXPECT_EQ(groups()[2].idle, "");
  EXPECT_FALSE(std::filesystem::exists(tree.path("cpu/mcpbox.idle"))) << "nothing stays that is of no use";
  tree.file("cpu/mcpbox.idle/cpu.idle", "0");
  EXPECT_EQ(groups()[2].idle, tree.path("cpu/mcpbox.idle/mcpbox/box.1"));
  EXPECT_EQ(sys::read_file(tree.path("cpu/mcpbox.idle/cpu.idle")).value_or("none"), "1");
  EXPECT_TRUE(std::filesystem::exists(tree.path("cpu/mcpbox.idle/mcpbox")));
  EXPECT_EQ(groups()[0].idle, "") << "memory is counted where it was";
}

TEST_F(NativeCgroups, version_1_counts_processor_time_where_that_is_counted) {
  make_first();
  tree.file("cpuacct/cpuacct.usage");
  const auto apart = groups();
  ASSERT_EQ(apart.size(), 4u);
  EXPECT_EQ(apart[3].directory, tree.path("cpuacct/mcpbox/box.1"));
  EXPECT_EQ(apart[3].usage, "cpuacct.usage");
  EXPECT_TRUE(apart[3].servers.empty()) << "the sandbox's is enough, and each group costs a start time";
  EXPECT_TRUE(apart[2].usage.empty());
  for (const char* file : {"cpu/cpuacct.usage", "cpu/mcpbox/cpuacct.usage"}) tree.file(file);
  const auto together = groups();
  ASSERT_EQ(together.size(), 3u);
  EXPECT_EQ(together[2].usage, "cpuacct.usage");
}

TEST_F(NativeCgroups, version_1_without_swap_accounting_limits_memory_alone) {
  tree.file("memory/memory.limit_in_bytes");
  const auto made = groups();
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made[0].settings, std::vector<std::string>{"memory.limit_in_bytes=536870912"});
  EXPECT_EQ(made[0].servers, (std::vector<wire::GroupSetting>{{Value::kMemory, "memory.limit_in_bytes"}}));
}

TEST_F(NativeCgroups, version_2_has_one_group_and_passes_its_controllers_on) {
  for (const char* file : {"mcpbox/memory.swap.max", "mcpbox/memory.peak"}) tree.file(file);
  CgroupHost host;
  host.version = 2;
  host.memory = host.processes = host.processors = true;
  const auto made = cgroups_for(tree.root(), host, "box.1", limits);
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made[0].directory, tree.path("mcpbox/box.1"));
  EXPECT_EQ(made[0].settings, (std::vector<std::string>{"memory.max=536870912", "memory.swap.max=0", "pids.max=99",
                                                        "cpu.max=150000 100000"}));
  EXPECT_EQ(made[0].servers, (std::vector<wire::GroupSetting>{{Value::kMemory, "memory.max"},
                                                              {Value::kZero, "memory.swap.max"},
                                                              {Value::kOne, "memory.oom.group"},
                                                              {Value::kProcesses, "pids.max"},
                                                              {Value::kQuotaOfAll, "cpu.max"}}));
  EXPECT_EQ(made[0].pass_on, "+memory +pids +cpu");
  EXPECT_EQ(made[0].peak, "memory.peak");
  EXPECT_TRUE(made[0].notify.empty());
}

TEST_F(NativeCgroups, version_2_passes_on_only_what_it_has) {
  CgroupHost host;
  host.version = 2;
  host.processes = true;
  const auto made = cgroups_for(tree.root(), host, "box.1", limits);
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made[0].pass_on, "+pids");
  EXPECT_TRUE(made[0].kills.empty());
  EXPECT_TRUE(cgroups_for(tree.root(), CgroupHost{.version = 2}, "box.1", limits).empty());
}

TEST_F(NativeCgroups, what_a_server_gets_follows_from_its_limits) {
  wire::ServerLimits server;
  for (const Value value :
       {Value::kMemory, Value::kProcesses, Value::kQuota, Value::kQuotaOfAll, Value::kZero, Value::kOne})
    EXPECT_EQ(init::group_value(value, server), "") << "no limit";
  server.memory_bytes = 160ull << 20;
  server.processes = 20;
  server.processors = 250;
  EXPECT_EQ(init::group_value(Value::kMemory, server), std::to_string(174ull << 20));
  EXPECT_EQ(init::group_value(Value::kProcesses, server), "30") << "ours, and room to see that it has more";
  EXPECT_EQ(init::group_value(Value::kQuota, server), "25000");
  EXPECT_EQ(init::group_value(Value::kQuotaOfAll, server), "25000 100000");
  EXPECT_EQ(init::group_value(Value::kQuota, server, 200), "20000") << "the kernel lets none have more than the whole";
  EXPECT_EQ(init::group_value(Value::kQuotaOfAll, server, 2000), "25000 100000");
  EXPECT_EQ(init::group_value(Value::kZero, server), "0");
  EXPECT_EQ(init::group_value(Value::kOne, server), "1");
  server.processors = 1;
  EXPECT_EQ(init::group_value(Value::kQuota, server), "1000") << "the kernel takes no less";
}

// A folder in place of a control group: files cannot be made in a real one, so they stand there before.
TEST_F(NativeCgroups, version_2_puts_pid_1_into_a_leaf_before_it_passes_controllers_on) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.pass_on = "+memory +pids";
  group.servers = {{Value::kMemory, "memory.max"}};
  tree.file("box.1/cgroup.subtree_control");
  const auto opened = init::ServerGroups::open({group});
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->any());
  // The leaf has no cgroup.procs here, so PID 1 cannot go there, and nothing is passed on while it is not there.
  EXPECT_FALSE(opened->settle());
  EXPECT_TRUE(std::filesystem::is_directory(tree.path("box.1/leaf")));
  EXPECT_EQ(std::filesystem::file_size(tree.path("box.1/cgroup.subtree_control")), 0u);
}

TEST_F(NativeCgroups, a_group_of_one_server_only_is_none_of_its_own) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.kills = "memory.events";
  group.peak = "memory.peak";
  tree.file("box.1/memory.events", "low 0\noom 2\noom_kill 3\n");
  tree.file("box.1/memory.peak", "4096\n");
  const auto opened = init::ServerGroups::open({group});
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->any());
  const init::GroupMemory memory = opened->memory_of(init::kWholeGroup);
  EXPECT_EQ(memory.kills, 3u);
  EXPECT_EQ(memory.own_limit, 2u);
  EXPECT_EQ(memory.peak, 4096u);
}

TEST_F(NativeCgroups, version_1_says_what_is_held_without_cached_files) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.kills = "memory.oom_control";
  group.notify = "cgroup.event_control";
  tree.file("box.1/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n");
  tree.file("box.1/memory.usage_in_bytes", "1900\n");
  tree.file("box.1/memory.stat", "cache 9\nrss 8\nshmem 7\ntotal_cache 900\ntotal_rss 1000\ntotal_shmem 24\n");
  const auto opened = init::ServerGroups::open({group});
  ASSERT_TRUE(opened);
  const init::GroupMemory memory = opened->memory_of(init::kWholeGroup);
  EXPECT_EQ(memory.kills, 3u);
  EXPECT_FALSE(memory.own_limit) << "it is not said whose limit it was";
  EXPECT_EQ(memory.held, 1024u);
  EXPECT_EQ(opened->told_events(), static_cast<unsigned>(EPOLLIN)) << "of an eventfd";
}

// /proc/PID/mounts can always be read, as every file of a control group, and tells changes in the same way (proc(5)).
TEST_F(NativeCgroups, version_2_is_not_told_without_end_what_is_no_news) {
  wire::BuildCgroup group;
  group.directory = "/proc/" + std::to_string(::getpid());
  group.kills = "mounts";
  const auto opened = init::ServerGroups::open({group});
  ASSERT_TRUE(opened);
  const UniqueFd told = opened->watch_whole();
  ASSERT_TRUE(told);
  init::EventLoop loop;
  unsigned turns = 0;
  ASSERT_EQ(loop.watch(told.get(), opened->told_events(), [&](unsigned) { ++turns; }), 0);
  loop.at(init::EventLoop::Clock::now() + std::chrono::milliseconds(50), [&] { loop.stop(); });
  ASSERT_EQ(loop.run(), 0);
  EXPECT_LE(turns, 20u);  // what is mounted meanwhile is news; without end there are thousands
}

TEST_F(NativeCgroups, a_group_that_could_not_be_removed_is_tried_again_with_the_next) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.servers = {{Value::kProcesses, "pids.max"}};
  auto opened = init::ServerGroups::open({group});
  ASSERT_TRUE(opened);
  tree.dir("box.1/s1/something");
  tree.dir("box.1/s2");
  const auto removed = [&](const std::string& name) {
    opened->remove(name);
    return ::wait(nullptr) > 0;
  };
  ASSERT_TRUE(removed("s1"));
  ASSERT_TRUE(std::filesystem::exists(tree.path("box.1/s1")));
  std::filesystem::remove(tree.path("box.1/s1/something"));
  ASSERT_TRUE(removed("s2"));
  EXPECT_FALSE(std::filesystem::exists(tree.path("box.1/s1")));
  EXPECT_FALSE(std::filesystem::exists(tree.path("box.1/s2")));
}

struct Placed : testing::Test {
  test::TempTree tree;

  init::ServerGroups groups(const char* file, Value value, std::vector<std::string> settings = {}) {
    wire::BuildCgroup group;
    group.directory = tree.dir("box.1");
    group.settings = std::move(settings);
    group.usage = "cpu.stat";
    group.servers = {{value, file}};
    tree.dir("box.1/s1");
    tree.file("box.1/cpu.stat", "usage_usec 7\n");
    auto opened = init::ServerGroups::open({group});
    EXPECT_TRUE(opened);
    return std::move(*opened);
  }
  std::string text(const std::string& name) {
    std::string line;
    std::getline(std::ifstream(tree.path("box.1/s1/" + name)), line);
    return line;
  }
};

TEST_F(Placed, behind_all_others_is_idle_and_back_with_its_own_weight) {
  const auto made = groups("cpu.cfs_quota_us", Value::kQuota, {"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"});
  for (const char* file : {"cpu.idle", "cpu.shares"}) tree.file(std::string("box.1/s1/") + file, "x");
  EXPECT_TRUE(made.place("s1", true));
  EXPECT_EQ(text("cpu.idle"), "1");
  EXPECT_EQ(text("cpu.shares"), "x") << "an idle group has the least of all";
  EXPECT_TRUE(made.place("s1", false));
  EXPECT_EQ(text("cpu.idle"), "0");
  EXPECT_EQ(text("cpu.shares"), "256") << "the kernel's own would be more than others have";
  EXPECT_EQ(made.processor_limit(), 1500u);
  EXPECT_GE(made.processor_usage(), 0);
}

TEST_F(Placed, apart_from_the_sandbox_it_has_the_limit_that_is_its_own) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.idle = tree.dir("idle");
  group.servers = {{Value::kQuota, "cpu.cfs_quota_us"}};
  tree.file("box.1/s1/cgroup.procs", "7\n");
  tree.file("box.1/s1/cpu.cfs_quota_us", "40000\n");
  const auto made = init::ServerGroups::open({group});
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->to_move("s1", true));
  EXPECT_FALSE(made->to_move("s1", false)) << "nobody is there";
  EXPECT_TRUE(made->is_used("s1"));
  made->make_apart("s1");
  EXPECT_TRUE(std::filesystem::is_directory(tree.path("idle/s1")));
  tree.file("box.1/s1/cgroup.procs", "");
  EXPECT_FALSE(made->to_move("s1", true));
  tree.file("idle/s1/cgroup.procs", "7\n");
  EXPECT_TRUE(made->to_move("s1", false));
  EXPECT_TRUE(made->is_used("s1")) << "wherever they are";
  // A limit that the machine could pass is the sandbox's group's to hold.
  group.settings = {"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=500"};
  const auto limited = init::ServerGroups::open({group});
  ASSERT_TRUE(limited);
  EXPECT_FALSE(limited->to_move("s1", false));
}

// Folders: who was "moved" stays in the list, as a process does whose first thread has ended.
struct Moved : Placed {
  init::Op<init::ServerGroups> two_groups(int processes) {
    wire::BuildCgroup group;
    group.directory = tree.dir("box.1");
    group.idle = tree.dir("idle");
    group.servers = {{Value::kQuota, "cpu.cfs_quota_us"}};
    std::string list;
    for (int pid = 100; pid < 100 + processes; ++pid) list += std::to_string(pid) + "\n";
    tree.file("box.1/s1/cgroup.procs", list);
    tree.file("idle/s1/cgroup.procs");
    return init::ServerGroups::open({group});
  }
  std::string moved() { return sys::read_file(tree.path("idle/s1/cgroup.procs")).value_or("none"); }
};

TEST_F(Moved, each_once_and_no_more_than_so_many_at_a_time) {
  const auto few = two_groups(2);
  ASSERT_TRUE(few);
  EXPECT_EQ(few->move("s1", true), 2u);
  EXPECT_EQ(moved(), "100101");
  const auto many = two_groups(100);
  ASSERT_TRUE(many);
  EXPECT_EQ(many->move("s1", true), init::ServerGroups::kMostMoved);
  EXPECT_EQ(moved().size(), 3 * init::ServerGroups::kMostMoved);
}

struct Mover : Moved {
  using Clock = init::EventLoop::Clock;
  struct Step {
    std::function<bool()> when;
    std::function<void()> then;
  };
  init::EventLoop loop;
  init::Helpers helpers{loop};
  int ended = 0;
  std::vector<Step> steps;
  Clock::time_point until = Clock::now() + std::chrono::seconds(60);

  void look() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) ended += helpers.reaped(pid) ? 1 : 0;
    if (!steps.empty() && steps.front().when()) {
      steps.front().then();
      steps.erase(steps.begin());
    }
    if (steps.empty() || Clock::now() >= until) return loop.stop();
    loop.at(Clock::now() + std::chrono::milliseconds(2), [this] { look(); });
  }
  void go(std::vector<Step> all) {
    steps = std::move(all);
    look();
    EXPECT_EQ(loop.run(), 0);
    EXPECT_TRUE(steps.empty()) << steps.size() << " steps were not reached";
  }
};

TEST_F(Mover, tries_on_by_itself_until_all_are_there_and_then_no_more) {
  const auto groups = two_groups(1);
  ASSERT_TRUE(groups);
  init::GroupMover mover(loop, helpers, *groups);
  for (int i = 0; i < 10; ++i) mover.put("s1", true);
  Clock::time_point then;
  go({{[&] { return ended == 1; }, [&] { EXPECT_EQ(moved(), "100"); }},
      // It is still listed where it was, and nobody says anything any more.
      {[&] { return ended == 2; }, [&] { tree.file("box.1/s1/cgroup.procs", ""); }},
      {[&] { return ended == 3; }, [&] { then = Clock::now(); }},  // the one that was due
      {[&] { return Clock::now() - then > std::chrono::seconds(1); }, [&] { EXPECT_EQ(ended, 3); }}});
}

TEST_F(Mover, turns_round_at_once_when_it_is_told_so) {
  const auto groups = two_groups(1);
  ASSERT_TRUE(groups);
  init::GroupMover mover(loop, helpers, *groups);
  mover.put("s1", true);
  go({{[&] { return ended == 1; },
       [&] {
         tree.file("box.1/s1/cgroup.procs", "");
         tree.file("idle/s1/cgroup.procs", "100\n");
         mover.put("s1", false);
       }},
      {[&] { return ended == 2; }, [&] {}}});
  EXPECT_EQ(sys::read_file(tree.path("box.1/s1/cgroup.procs")).value_or("none"), "100");
}

TEST_F(Placed, behind_all_others_goes_with_the_server) {
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.idle = tree.dir("idle");
  group.servers = {{Value::kQuota, "cpu.cfs_quota_us"}};
  for (const char* each : {"box.1/s1", "idle/s1"}) tree.dir(each);
  auto made = init::ServerGroups::open({group});
  ASSERT_TRUE(made);
  made->remove("s1");
  ASSERT_GT(::wait(nullptr), 0);
  EXPECT_FALSE(std::filesystem::exists(tree.path("box.1/s1")));
  EXPECT_FALSE(std::filesystem::exists(tree.path("idle/s1")));
}

TEST_F(Placed, with_the_least_weight_where_the_kernel_knows_no_idle_groups) {
  const auto first = groups("cpu.cfs_quota_us", Value::kQuota);
  tree.file("box.1/s1/cpu.shares");
  EXPECT_TRUE(first.place("s1", true));
  EXPECT_EQ(text("cpu.shares"), "2");
  EXPECT_EQ(first.processor_limit(), 0u);
  const auto second = groups("cpu.max", Value::kQuotaOfAll, {"cpu.max=200000 100000"});
  tree.file("box.1/s1/cpu.weight");
  EXPECT_TRUE(second.place("s1", true));
  EXPECT_EQ(text("cpu.weight"), "1");
  EXPECT_EQ(second.processor_limit(), 2000u);
}

TEST_F(Placed, nowhere_without_a_group_that_shares_processors) {
  const auto made = groups("pids.max", Value::kProcesses);
  EXPECT_FALSE(made.place("s1", true));
  const auto gone = groups("cpu.max", Value::kQuotaOfAll);
  EXPECT_FALSE(gone.place("s2", true));
  EXPECT_FALSE(gone.place("s1", true)) << "nothing to write to";
}

TEST(KilledForOwnLimit, counts_what_came_since_the_start) {
  using init::GroupMemory;
  constexpr std::uint64_t kLimit = 160;
  const GroupMemory before{.kills = 3, .own_limit = 2, .peak = 900};
  EXPECT_FALSE(init::killed_for_own_limit(before, before, 500, kLimit, true)) << "of a server that was here before";
  EXPECT_TRUE(init::killed_for_own_limit(before, {.kills = 4, .own_limit = 3, .peak = 900}, 0, kLimit, true));
}

TEST(KilledForOwnLimit, is_none_of_who_was_killed_for_the_sandboxs) {
  using init::GroupMemory;
  constexpr std::uint64_t kLimit = 160;
  EXPECT_FALSE(init::killed_for_own_limit({}, {.kills = 1, .own_limit = 0, .peak = 170}, 20, kLimit, false))
      << "its peak is files that it has read";
  EXPECT_FALSE(init::killed_for_own_limit({}, {.kills = 1, .peak = 170}, 100, kLimit, false)) << "version 1";
  EXPECT_FALSE(init::killed_for_own_limit({}, {.kills = 1, .peak = 150}, 150, kLimit, false)) << "never at its limit";
  EXPECT_TRUE(init::killed_for_own_limit({}, {.kills = 1, .peak = 170}, 150, kLimit, false));
  EXPECT_FALSE(init::killed_for_own_limit({.kills = 1, .peak = 170}, {.kills = 2, .peak = 170}, 100, kLimit, true));
}

TEST_F(NativeCgroups, a_sandbox_goes_with_the_groups_of_its_servers) {
  tree.dir("box.1/s1");
  tree.dir("box.1/leaf");
  EXPECT_TRUE(remove_cgroup(tree.path("box.1")));
  EXPECT_FALSE(std::filesystem::exists(tree.path("box.1")));
  EXPECT_TRUE(remove_cgroup(tree.path("box.1"))) << "gone already";
}

}  // namespace
}  // namespace mcpbox::box
