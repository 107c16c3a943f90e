#include "box/init/processor_watch.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "box/init/sandbox_processors.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr uid_t kHog = 100, kNeighbour = 200;

// A sandbox of two processors, with rounds of 50 ms.
struct Processors : testing::Test {
  void SetUp() override {
    watch.add(kHog, now);
    watch.add(kNeighbour, now);
    round([] {});
  }
  // `used`: what the whole sandbox did.
  template <class See>
  void round(const See& see, std::chrono::milliseconds used = 0ms) {
    group += used;
    watch.begin(group, now += 50ms);
    see();
    for (const auto& place : watch.finish(0ms, now)) {
      if (place.uid == kHog) apart = place.apart;
      if (place.behind) behind.insert(place.uid);
      if (!place.behind) behind.erase(place.uid);
    }
  }
  // A process of the uid that used this in the round, of whom it has used `total` ever.
  void uses(uid_t uid, ProcessorWatch::Sample& process, std::chrono::milliseconds total, bool born = false,
            std::chrono::milliseconds waited = 0ms) {
    if (born) watch.born(uid, 0);
    if (watch.close()) watch.see(uid, process, born, {total, waited, true});
  }

  ProcessorWatch watch{2000};
  ProcessorWatch::TimePoint now{};
  std::chrono::microseconds group{0};
  std::set<uid_t> behind;
  bool apart = false;  // of the hog, as it was told last
};

TEST_F(Processors, are_looked_at_closely_only_while_they_are_in_use) {
  round([] {}, 10ms);
  EXPECT_FALSE(watch.close());
  round([] {}, 30ms);
  EXPECT_TRUE(watch.close());
  round([] {}, 10ms);
  EXPECT_FALSE(watch.close());
}

TEST_F(Processors, who_spins_is_behind_soon_and_its_neighbour_is_not) {
  ProcessorWatch::Sample hog, neighbour;
  auto total = 60'000ms;  // of long ago
  int rounds = 0;
  while (behind.empty() && rounds < 20) {
    ++rounds, total += 95ms;
    round([&] { uses(kHog, hog, total), uses(kNeighbour, neighbour, 5ms * rounds); }, 100ms);
  }
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
  EXPECT_LE(rounds, 4);
  EXPECT_FALSE(watch.presses(kHog));
  for (int n = 0; n < 100; ++n) {
    total += 95ms;
    round([&] { uses(kHog, hog, total), uses(kNeighbour, neighbour, 5ms * (rounds + n)); }, 100ms);
  }
  EXPECT_TRUE(watch.presses(kHog));
  EXPECT_FALSE(watch.presses(kNeighbour));
  EXPECT_FALSE(watch.yields(kNeighbour));
}

TEST_F(Processors, what_was_used_before_the_first_close_look_is_nobodys) {
  ProcessorWatch::Sample process;
  round([&] { uses(kHog, process, 60'000ms); }, 30ms);
  ASSERT_TRUE(watch.close());
  EXPECT_TRUE(behind.empty());
  round([&] {}, 0ms);
  round([&] { uses(kHog, process, 61'000ms); }, 30ms);
  EXPECT_TRUE(behind.empty());
}

TEST_F(Processors, a_crowd_that_was_just_born_counts_at_once) {
  std::vector<ProcessorWatch::Sample> crowd(20);
  round(
      [&] {
        for (auto& each : crowd) uses(kHog, each, 5ms, true);
      },
      100ms);
  for (int n = 2; n < 4; ++n)
    round(
        [&] {
          for (auto& each : crowd) uses(kHog, each, 5ms * n);
        },
        100ms);
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
}

TEST_F(Processors, what_ended_is_counted_once_when_its_parent_waited_for_it) {
  ProcessorWatch::Sample parent, child;
  round([&] { uses(kHog, parent, 0ms), uses(kHog, child, 0ms, true); }, 40ms);
  round([&] { uses(kHog, parent, 0ms), uses(kHog, child, 40ms); }, 40ms);
  round(
      [&] {
        uses(kHog, parent, 0ms, false, 40ms);
        watch.lost(kHog, child);
      },
      40ms);
  EXPECT_TRUE(behind.empty());
  // Children of which no look saw any.
  auto waited = 40ms;
  for (int n = 0; n < 4; ++n) {
    waited += 80ms;
    round([&] { uses(kHog, parent, 0ms, false, waited); }, 80ms);
  }
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
}

TEST_F(Processors, what_nobody_was_seen_to_use_is_of_who_has_new_processes) {
  ProcessorWatch::Sample neighbour;
  for (int n = 0; n < 12; ++n) {
    ProcessorWatch::Sample orphan;
    round([&] { uses(kHog, orphan, 0ms, true), uses(kNeighbour, neighbour, 2ms * n); }, 80ms);
  }
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
}

TEST_F(Processors, what_we_use_ourselves_is_no_servers) {
  for (int n = 1; n < 20; ++n) {
    ProcessorWatch::Sample helper, child;
    group += 90ms;
    watch.begin(group, now += 50ms);
    uses(0, helper, 45ms, true);
    uses(kNeighbour, child, 0ms, true);
    EXPECT_TRUE(watch.finish(45ms * n, now).empty());
  }
}

TEST_F(Processors, many_hogs_are_seen_although_each_has_little) {
  constexpr uid_t kFirst = 1000, kLast = 1009;
  for (uid_t uid = kFirst; uid <= kLast; ++uid) watch.add(uid, now);
  std::map<uid_t, ProcessorWatch::Sample> hogs;
  ProcessorWatch::Sample neighbour;
  for (int n = 0; n < 1000; ++n) {
    round(
        [&] {
          for (uid_t uid = kFirst; uid <= kLast; ++uid) uses(uid, hogs[uid], 10ms * n);
          uses(kNeighbour, neighbour, 3ms * n);
        },
        100ms);
  }
  EXPECT_EQ(behind.size(), 10u);
  for (uid_t uid = kFirst; uid <= kLast; ++uid) EXPECT_TRUE(watch.presses(uid));
  EXPECT_FALSE(watch.yields(kNeighbour));
  EXPECT_FALSE(watch.presses(kNeighbour));
}

TEST_F(Processors, who_has_little_beside_hogs_that_are_behind_takes_nothing_from_anybody) {
  ProcessorWatch::Sample hogs[3], neighbour;
  for (uid_t uid = 1; uid <= 3; ++uid) watch.add(uid, now);
  for (int n = 0; n < 1000; ++n) {
    round(
        [&] {
          for (uid_t uid = 1; uid <= 3; ++uid) uses(uid, hogs[uid - 1], 25ms * n);
          uses(kNeighbour, neighbour, 20ms * n);
        },
        95ms);
  }
  EXPECT_EQ(behind, (std::set<uid_t>{1, 2, 3}));
}

// Rounds are of 50 ms. On a busy machine it gets next to nothing apart, and that looks as if it rested.
TEST_F(Processors, who_gets_nothing_apart_comes_back_and_stays_longer_each_time) {
  ProcessorWatch::Sample hog;
  auto total = 60'000ms;
  const auto rounds_until = [&](bool wanted, std::chrono::milliseconds each) {
    int rounds = 0;
    for (; apart != wanted && rounds < 2000; ++rounds) round([&] { uses(kHog, hog, total += each); }, each);
    return rounds;
  };
  EXPECT_LT(rounds_until(true, 90ms), 30) << "soon";
  EXPECT_FALSE(watch.presses(kHog)) << "before it is named";
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
  EXPECT_LT(rounds_until(false, 5ms), 10) << "0.3 s";
  const int first = rounds_until(true, 50ms);
  EXPECT_GE(first, 15) << "a second, but for what it takes to be seen";
  rounds_until(false, 5ms);
  EXPECT_GE(rounds_until(true, 50ms), 2 * first - 5);
  for (int i = 0; i < 300; ++i) round([&] { uses(kHog, hog, total += 50ms); }, 50ms);
  EXPECT_TRUE(apart);
  rounds_until(false, 5ms);
  EXPECT_LT(rounds_until(true, 50ms), first + 15) << "it was well apart for long";
}

// What is much of a sandbox that may use little.
TEST(SmallSandbox, has_hogs_too) {
  ProcessorWatch watch(300);
  ProcessorWatch::TimePoint now{};
  std::chrono::microseconds group{0}, total{60'000'000};
  ProcessorWatch::Sample hog;
  bool behind = false;
  watch.add(kHog, now);
  watch.add(kNeighbour, now);
  for (int i = 0; i < 200 && !behind; ++i) {
    group += 15ms, total += 15ms;
    watch.begin(group, now += 50ms);
    if (watch.close()) watch.see(kHog, hog, false, {total, 0ms, true});
    for (const auto& place : watch.finish(0ms, now)) behind = behind || (place.uid == kHog && place.behind);
  }
  EXPECT_TRUE(behind);
}

TEST_F(Processors, who_is_over_and_starts_again_is_behind_and_after_a_while_is_another) {
  ProcessorWatch::Sample process;
  for (int n = 0; n < 5; ++n) round([&] { uses(kHog, process, 90ms * n); }, 90ms);
  ASSERT_TRUE(watch.yields(kHog));
  watch.remove(kHog, now);
  EXPECT_FALSE(watch.yields(kHog));
  watch.add(kHog, now);
  EXPECT_TRUE(watch.yields(kHog));
  watch.remove(kHog, now);
  watch.add(kHog, now + ProcessorWatch::kKept);
  EXPECT_FALSE(watch.yields(kHog));
}

TEST_F(Processors, a_crowd_that_hardly_shows_is_not_laid_at_the_door_of_who_starts_one_now_and_then) {
  for (int n = 0; n < 200; ++n) {
    round(
        [&] {
          ProcessorWatch::Sample one, other;
          uses(kHog, one, 0ms, true);
          uses(kNeighbour, other, 0ms, true);
        },
        90ms);
  }
  EXPECT_FALSE(watch.yields(kNeighbour));
}

// Whose number in its own namespace tells how many there were.
TEST_F(Processors, of_crowds_that_nobody_sees_are_shared_out_by_how_many_were_born) {
  constexpr uid_t kOther = 300;
  watch.add(kOther, now);
  std::map<uid_t, std::uint64_t> numbers{{kHog, 2}, {kOther, 2}, {kNeighbour, 2}};
  for (int n = 0; n < 200; ++n) {
    round(
        [&] {
          watch.born(kHog, numbers[kHog] += 200);
          watch.born(kHog, numbers[kHog] - 1);  // seen later, born before it
          watch.born(kOther, numbers[kOther] += 180);
          watch.born(kNeighbour, numbers[kNeighbour] += 2);
        },
        90ms);
    if (numbers[kHog] > 30'000) numbers[kHog] = 300;  // as the kernel does it
  }
  EXPECT_EQ(behind, (std::set<uid_t>{kHog, kOther}));
  EXPECT_TRUE(watch.presses(kHog));
  EXPECT_FALSE(watch.yields(kNeighbour));
}

TEST_F(Processors, that_nobody_uses_are_not_laid_at_the_door_of_who_started_one_long_ago) {
  watch.born(kNeighbour, 5);
  for (int n = 0; n < 20; ++n) round([] {}, 0ms);
  for (int n = 0; n < 40; ++n) round([] {}, 90ms);
  EXPECT_FALSE(watch.yields(kNeighbour));
}

// Threads are numbered as well, and nobody sees those.
TEST_F(Processors, of_a_crowd_are_not_who_had_many_threads_since_its_last_process) {
  std::uint64_t crowd = 2;
  watch.born(kNeighbour, 2);
  watch.born(kHog, crowd);
  for (int n = 0; n < 40; ++n) round([&] { watch.born(kHog, crowd += 200); }, 90ms);
  for (int n = 0; n < 10; ++n) {
    round([&] { watch.born(kHog, crowd += 200), watch.born(kNeighbour, 9000 + static_cast<unsigned>(n)); }, 90ms);
  }
  EXPECT_TRUE(watch.yields(kHog));
  EXPECT_FALSE(watch.yields(kNeighbour));
}

TEST_F(Processors, where_numbers_are_few_they_begin_anew_often) {
  std::uint64_t number = 300;
  for (int n = 0; n < 100; ++n) {
    round(
        [&] {
          watch.born(kHog, number = number > 900 ? 300 : number + 200);
          watch.born(kNeighbour, 2 + static_cast<unsigned>(n));
        },
        90ms);
  }
  EXPECT_TRUE(watch.presses(kHog));
  EXPECT_FALSE(watch.yields(kNeighbour));
}

// Every other round it does nothing: 90 of 100 ms, and the round of 50 in between.
TEST_F(Processors, who_rests_in_every_other_round_is_seen_as_well) {
  ProcessorWatch::Sample hog;
  auto total = 60'000ms;
  for (int n = 0; n < 40; ++n) {
    round([&] { uses(kHog, hog, total += 90ms); }, 90ms);
    round([] {}, 0ms);
  }
  EXPECT_EQ(behind, std::set<uid_t>{kHog});
}

TEST_F(Processors, who_passed_a_limit_begins_apart_when_it_comes_again_soon) {
  watch.hold_against(kHog, now);
  EXPECT_FALSE(watch.is_apart(kHog)) << "it is ended";
  watch.remove(kHog, now);
  watch.add(kHog, now + 1s);
  EXPECT_TRUE(watch.is_apart(kHog));
  now += 1s;
  for (int n = 0; n < 10; ++n) round([] {}, 0ms);
  EXPECT_FALSE(watch.is_apart(kHog)) << "it rests";
  watch.remove(kHog, now);
  watch.add(kHog, now + ProcessorWatch::kKept);
  EXPECT_FALSE(watch.is_apart(kHog));
  EXPECT_FALSE(watch.is_apart(kNeighbour));
}

TEST_F(Processors, who_passed_a_limit_begins_behind_when_it_comes_again_soon) {
  watch.hold_against(kHog, now);
  watch.remove(kHog, now);
  watch.add(kHog, now + 1s);
  EXPECT_TRUE(watch.yields(kHog));
  EXPECT_FALSE(watch.presses(kHog)) << "it is named for nothing that it has not done";
  watch.remove(kHog, now);
  watch.add(kHog, now + ProcessorWatch::kKept);
  EXPECT_FALSE(watch.yields(kHog));
}

TEST_F(Processors, where_the_whole_is_not_known_who_spins_is_seen_all_the_same) {
  ProcessorWatch unknown(2000);
  unknown.add(kHog, now);
  ProcessorWatch::Sample process;
  for (int n = 0; n < 30; ++n) {
    unknown.begin(std::nullopt, now += 100ms);
    EXPECT_FALSE(unknown.close());
    if (n % 10 == 0) unknown.see(kHog, process, false, {900ms + 100ms * n, 0ms, true});
    (void)unknown.finish(0ms, now);
  }
  EXPECT_TRUE(unknown.yields(kHog));
}

TEST(SandboxProcessors, are_read_as_both_versions_of_control_groups_have_them) {
  EXPECT_EQ(parse_processor_time(false, "1234567890\n"), 1'234'567us);
  EXPECT_EQ(parse_processor_time(true, "usage_usec 4321\nuser_usec 1\n"), 4321us);
  for (const bool second : {false, true}) {
    EXPECT_FALSE(parse_processor_time(second, ""));
    EXPECT_FALSE(parse_processor_time(second, "user_usec x\n"));
  }
  EXPECT_EQ(parse_processor_limit("200000\n", "100000\n"), 2000u);
  EXPECT_EQ(parse_processor_limit("150000 100000\n", "150000 100000\n"), 1500u);
  EXPECT_EQ(parse_processor_limit("-1\n", "100000\n"), 0u);
  EXPECT_EQ(parse_processor_limit("max 100000\n", "max 100000\n"), 0u);
  EXPECT_EQ(parse_processor_limit("", ""), 0u);
}

}  // namespace
}  // namespace mcpbox::box::init
