#include "box/init/memory_gauge.h"

#include <gtest/gtest.h>

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
  gauge.looked(110 * kMiB, now);
  EXPECT_FALSE(look(905, 100).passed);
  EXPECT_EQ(gauge.last(), 115 * kMiB);  // what came is shared with nobody, as far as is known
}

TEST_F(Looks, many_small_ones_pass_the_limit_together) {
  EXPECT_TRUE(look(170, 10).look_closely);
  gauge.looked(170 * kMiB, now);
  EXPECT_EQ(look(170, 10).passed, (wire::PassedLimit{wire::LimitKind::kMemory, 160 * kMiB, 170 * kMiB}));
}

TEST_F(Looks, who_grows_faster_than_can_be_looked_ends_all_the_same) {
  EXPECT_TRUE(look(170, 10).look_closely);
  gauge.looked(170 * kMiB, now);
  EXPECT_TRUE(look(900, 30).passed);
}

TEST_F(Looks, a_closer_look_that_failed_leaves_the_sum) {
  look(170, 10);
  gauge.looked(std::nullopt, now);
  EXPECT_TRUE(look(170, 10).passed);
}

TEST_F(Looks, it_is_looked_closely_again_when_the_sum_moved_or_time_went_by) {
  look(900, 100);
  gauge.looked(110 * kMiB, now);
  EXPECT_FALSE(look(905, 100).look_closely);
  EXPECT_TRUE(look(930, 100).look_closely);
  gauge.looked(110 * kMiB, now);
  EXPECT_TRUE(look(700, 100).look_closely);
  gauge.looked(110 * kMiB, now);
  now += MemoryGauge::kCloser;
  EXPECT_TRUE(look(700, 100).look_closely);
}

TEST_F(Looks, who_passed_is_given_time_to_end) {
  EXPECT_TRUE(look(170, 170).passed);
  EXPECT_FALSE(look(170, 170).passed);
  now += MemoryGauge::kAgain;
  EXPECT_TRUE(look(170, 170).passed);
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
  EXPECT_LT(pause_after(1s, true), 100ms);
}

TEST(ProcMemory, reads_what_the_kernel_writes) {
  ProcStatus status;
  EXPECT_TRUE(
      parse_status("Name:\tevil\\nUid:\t0\nUmask:\t0022\nUid:\t1000\t1000\t1000\t1000\nVmSize:\t9 kB\nRssAnon:\t1 kB\n"
                   "RssShmem:\t      16 kB\nVmPTE:\t   40 kB\nVmSwap:\t 2 kB\nThreads:\t12\n",
                   status));
  EXPECT_EQ(status.uid, 1000u);
  EXPECT_EQ(status.shared, 16u << 10);
  EXPECT_EQ(status.tables, 40u << 10);
  EXPECT_EQ(status.swapped, 2u << 10);
  EXPECT_EQ(status.threads, 12u);
  EXPECT_FALSE(parse_status("Name:\tx\n", status));
  ProcPages pages;
  EXPECT_TRUE(parse_pages("900 30 10 1 0 5 0\n", pages));
  EXPECT_EQ(pages.resident, 3 * pages.shared);
  EXPECT_FALSE(parse_pages("", pages));
}

}  // namespace
}  // namespace mcpbox::box::init
