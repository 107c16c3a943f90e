#include "box/init/memory_gauge.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "box/init/close_look.h"
#include "box/init/proc_memory.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;

struct Looks : testing::Test {
  // One tick of 100 ms later.
  MemoryGauge::Verdict look(std::uint64_t most, std::uint64_t least, std::uint64_t tasks = 1) {
    now += 100ms;
    return gauge.look({most * kMiB, least * kMiB, tasks}, now);
  }

  void looked(std::uint64_t bytes, bool all = true) { gauge.looked(LookedClosely{bytes * kMiB, all}, now); }

  MemoryGauge gauge{wire::ServerLimits{160 * kMiB, 10, 0, 0, {}, {}}};
  MemoryGauge::TimePoint now{};
};

TEST_F(Looks, what_is_within_its_limits_passes_none) {
  EXPECT_FALSE(look(160, 10).passed);
  EXPECT_FALSE(look(160, 160, 9).look_closely);
  EXPECT_EQ(gauge.last(), 160 * kMiB);
}

TEST_F(Looks, a_process_that_is_too_large_alone_needs_no_closer_look) {
  const auto verdict = look(170, 161);
  EXPECT_EQ(verdict.passed, (wire::PassedLimit{wire::LimitKind::kMemory, 160 * kMiB, 170 * kMiB}));
  EXPECT_FALSE(verdict.look_closely);
}

TEST_F(Looks, what_many_share_is_looked_at_before_it_counts) {
  EXPECT_TRUE(look(900, 100).look_closely);
  const auto meanwhile = look(900, 100);
  EXPECT_FALSE(meanwhile.look_closely);
  EXPECT_FALSE(meanwhile.passed);
  looked(110);
  EXPECT_FALSE(look(905, 100).passed);
  EXPECT_EQ(gauge.last(), 115 * kMiB);  // what came is shared with nobody, as far as is known
}

TEST_F(Looks, many_small_ones_pass_the_limit_together) {
  EXPECT_TRUE(look(170, 10).look_closely);
  looked(170);
  EXPECT_EQ(look(170, 10).passed, (wire::PassedLimit{wire::LimitKind::kMemory, 160 * kMiB, 170 * kMiB}));
}

TEST_F(Looks, who_grows_faster_than_can_be_looked_ends_all_the_same) {
  EXPECT_TRUE(look(170, 10).look_closely);
  looked(170);
  EXPECT_TRUE(look(900, 30).passed);
}

TEST_F(Looks, a_closer_look_that_failed_is_no_verdict) {
  EXPECT_TRUE(look(900, 100).look_closely);
  now += 1s;
  gauge.looked(std::nullopt, now);
  EXPECT_FALSE(look(900, 100).passed) << "eight processes may have the same memory";
  EXPECT_FALSE(look(900, 100).look_closely) << "it took a second";
  now += 10s;
  EXPECT_TRUE(look(900, 100).look_closely);
}

TEST_F(Looks, a_look_at_a_part_is_a_verdict_when_that_is_too_much_already) {
  look(900, 100);
  looked(150, false);
  EXPECT_FALSE(look(900, 100).passed);
  looked(161, false);
  EXPECT_TRUE(look(900, 100).passed);
}

TEST_F(Looks, who_forks_after_a_closer_look_is_looked_at_again_before_that_counts) {
  look(170, 100);
  looked(110);
  const auto forked = look(270, 100);
  EXPECT_FALSE(forked.passed);
  EXPECT_TRUE(forked.look_closely);
  looked(112);
  EXPECT_FALSE(look(270, 100).passed);
}

TEST_F(Looks, who_gave_back_what_was_too_much_is_looked_at_again) {
  look(300, 100);
  looked(170);
  const auto less = look(280, 100);
  EXPECT_FALSE(less.passed);
  EXPECT_TRUE(less.look_closely);
}

TEST_F(Looks, looks_that_take_long_are_rare) {
  look(900, 100);
  now += 300ms;
  looked(110);
  EXPECT_FALSE(look(960, 100).look_closely);
  now += 3s;
  EXPECT_TRUE(look(960, 100).look_closely);
}

TEST_F(Looks, it_is_looked_closely_again_when_the_sum_moved_or_time_went_by) {
  look(900, 100);
  looked(110);
  EXPECT_FALSE(look(905, 100).look_closely);
  EXPECT_TRUE(look(930, 100).look_closely);
  looked(110);
  EXPECT_TRUE(look(700, 100).look_closely);
  looked(110);
  now += MemoryGauge::kCloser;
  EXPECT_TRUE(look(700, 100).look_closely);
}

TEST_F(Looks, who_passed_is_given_time_to_end) {
  EXPECT_TRUE(look(170, 170).passed);
  EXPECT_FALSE(look(170, 170).passed);
  now += MemoryGauge::kAgain;
  EXPECT_TRUE(look(170, 170).passed);
}

TEST_F(Looks, more_processes_than_allowed_are_an_offence_at_the_second_look) {
  EXPECT_FALSE(look(1, 1, 11).passed);
  EXPECT_FALSE(look(1, 1, 10).passed);
  EXPECT_FALSE(look(1, 1, 12).passed);
  now -= 60ms;  // so soon that it was a moment
  EXPECT_FALSE(look(1, 1, 12).passed);
  EXPECT_EQ(look(1, 1, 12).passed, (wire::PassedLimit{wire::LimitKind::kProcesses, 10, 12}));
}

TEST_F(Looks, all_processes_for_a_moment_are_no_offence) {
  EXPECT_FALSE(look(1, 1, 10).passed);
  EXPECT_FALSE(look(1, 1, 9).passed);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(look(1, 1, 10).passed);
  EXPECT_EQ(look(1, 1, 10).passed, (wire::PassedLimit{wire::LimitKind::kProcesses, 10, 10}));
}

TEST_F(Looks, no_limit_is_none) {
  gauge = MemoryGauge(wire::ServerLimits{});
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(look(1'000'000, 1'000'000, 100'000).passed);
  EXPECT_FALSE(gauge.near());
}

TEST_F(Looks, half_of_the_limit_and_fast_growth_are_near) {
  look(70, 70);
  EXPECT_TRUE(gauge.near());
  look(71, 71);
  EXPECT_FALSE(gauge.near());
  look(81, 81);
  EXPECT_TRUE(gauge.near());
}

TEST(Pause, is_short_where_it_matters_and_never_costs_more_than_a_hundredth) {
  EXPECT_LT(pause_after(5ms, false), 100ms);
  EXPECT_EQ(pause_after(5us, true), 5ms);
  EXPECT_EQ(pause_after(300us, true), 30ms);
  EXPECT_EQ(pause_after(1s, true), 10s) << "PID 1 has more to do than to count";
  EXPECT_LT(pause_after(8ms, true), 100ms);
}

TEST(MappedFiles, are_those_of_the_file_systems_that_are_counted) {
  const std::vector<dev_t> devices{makedev(0, 0x1b)};
  MappedFiles files(devices);
  for (const char* line :
       {"7fde71e5c000-7fde71f5c000 rw-s 00000000 00:1b 407                        /dev/shm/zz (deleted)",
        "Rss:                1024 kB", "Pss:                 512 kB", "Pss_Dirty:          1024 kB",
        "Anonymous:             0 kB", "7fde71f5c000-7fde7205c000 rw-s 00000000 00:01 276   /dev/zero (deleted)",
        "Pss:                1024 kB", "Anonymous:             0 kB",
        "fde71f5c0000-fde7205c0000 rw-p 00000000 00:1b 9  /x", "Pss:                  64 kB",
        "Anonymous:            60 kB"})
    files.line(line);
  EXPECT_EQ(files.bytes(), (512u + 4u) << 10);
}

TEST(CloseLook, says_when_it_was_no_look_at_all) {
  EXPECT_EQ(parse_look(std::string("4096"))->bytes, 4096u);
  EXPECT_TRUE(parse_look(std::string("4096"))->all);
  EXPECT_FALSE(parse_look(std::string("4096+"))->all);
  EXPECT_FALSE(parse_look(refuse(Code::kTimeout, "wait", "too long")));
}

TEST(ProcMemory, reads_what_the_kernel_writes) {
  ProcStatus status;
  EXPECT_TRUE(
      parse_status("Name:\tevil\\nUid:\t0\nUmask:\t0022\nUid:\t1000\t1000\t1000\t1000\nVmSize:\t9 kB\nRssAnon:\t1 kB\n"
                   "RssShmem:\t      16 kB\nVmPTE:\t   40 kB\nVmSwap:\t 2 kB\nThreads:\t12\nNSpid:\t7001\t401\t34\n",
                   status));
  EXPECT_EQ(status.number, 401u);
  EXPECT_EQ(status.uid, 1000u);
  EXPECT_EQ(status.shared, 16u << 10);
  EXPECT_EQ(status.tables, 40u << 10);
  EXPECT_EQ(status.swapped, 2u << 10);
  EXPECT_EQ(status.threads, 12u);
  EXPECT_TRUE(parse_status("Name:\tx\nUid:\t1\nNSpid:\t7001\n", status));
  EXPECT_EQ(status.number, 0u) << "the reader's own namespace";
  EXPECT_FALSE(parse_status("Name:\tx\n", status));
  ProcPages pages;
  EXPECT_TRUE(parse_pages("900 30 10 1 0 5 0\n", pages));
  EXPECT_EQ(pages.resident, 3 * pages.shared);
  EXPECT_FALSE(parse_pages("", pages));
}

}  // namespace
}  // namespace mcpbox::box::init
