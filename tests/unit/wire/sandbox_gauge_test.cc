#include "box/init/sandbox_gauge.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "box/init/close_look.h"
#include "box/init/hidden_memory.h"
#include "box/init/sandbox_memory.h"
#include "box/init/sandbox_watch.h"

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kUnknown = kUnknownMemory / kMiB;
constexpr uid_t kFirst = 1000;

ServerMemory unnamed(std::uint64_t least, std::uint64_t most, std::uint64_t hidden = 0) {
  ServerMemory server{0, 900 * kMiB, false, least * kMiB, most * kMiB, hidden * kMiB};
  server.look = true;
  return server;
}

ServerMemory named(std::uint64_t limit, std::uint64_t least, std::uint64_t most) {
  return {0, limit * kMiB, true, least * kMiB, most * kMiB};
}

// A sandbox of 1,200 MiB for its servers; the kernel ends somebody at 1,414.
struct Sandbox : testing::Test {
  // 100 ms later. `used` by all servers, with nothing for what is ours.
  SandboxGauge::Verdict look(std::vector<ServerMemory> servers, std::uint64_t used) {
    now += 100ms;
    for (std::size_t i = 0; i < servers.size(); ++i) servers[i].uid = kFirst + static_cast<uid_t>(i);
    use.used = used * kMiB + (use.measured ? SandboxGauge::kOurs : 0);
    return gauge.look(servers, use, now);
  }

  SandboxUse use{1200 * kMiB, 1414 * kMiB, 0, true};
  SandboxGauge gauge;
  SandboxGauge::TimePoint now{};
};

TEST_F(Sandbox, has_equal_parts_for_who_names_none_of_what_others_have_not_named) {
  using Parts = std::vector<std::uint64_t>;
  EXPECT_EQ(parts_of({unnamed(0, 0), unnamed(0, 0), unnamed(0, 0)}, 1200), (Parts{400, 400, 400}));
  EXPECT_EQ(parts_of({named(400, 0, 0), unnamed(0, 0), unnamed(0, 0)}, 1200 * kMiB),
            (Parts{400 * kMiB, 400 * kMiB, 400 * kMiB}));
  EXPECT_EQ(parts_of({named(1000, 0, 0), named(1400, 0, 0), unnamed(0, 0)}, 1200 * kMiB),
            (Parts{500 * kMiB, 700 * kMiB, 0}));
  EXPECT_EQ(parts_of({}, 1200), Parts{});
}

TEST_F(Sandbox, ends_nobody_before_it_is_full) {
  const auto verdict = look({unnamed(1100, 1100), unnamed(90, 90)}, 1190);
  EXPECT_FALSE(verdict.end);
  EXPECT_EQ(verdict.suspects, std::vector<uid_t>{kFirst});
  EXPECT_TRUE(look({unnamed(500, 500), unnamed(90, 90)}, 590).suspects.empty());
}

TEST_F(Sandbox, bounds_its_servers_before_the_kernel_does) {
  EXPECT_GT(memory_bound(use), use.all);
  EXPECT_LT(memory_bound(use), use.ceiling);
  EXPECT_LT(memory_bound({1200 * kMiB, 1210 * kMiB, 0, true}), 1210 * kMiB);
}

TEST_F(Sandbox, ends_who_is_furthest_above_its_part) {
  const auto verdict = look({unnamed(700, 700), unnamed(90, 90), unnamed(500, 500)}, 1290);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
  EXPECT_EQ(verdict.end->second, (wire::PassedLimit{wire::LimitKind::kSandboxMemory, 1200 * kMiB, 700 * kMiB}));
}

TEST_F(Sandbox, says_which_limit_of_its_own_a_server_has_passed) {
  const auto verdict = look({unnamed(1000, 1000), unnamed(300, 300)}, 1300);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->second, (wire::PassedLimit{wire::LimitKind::kMemory, 900 * kMiB, 1000 * kMiB}));
}

TEST_F(Sandbox, never_ends_who_has_no_more_than_its_part) {
  // The second names more than half, and has it.
  const auto verdict = look({unnamed(600, 600), named(700, 700, 700)}, 1300);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
  // All of them have theirs, and the rest is nobody's.
  now += 2s;
  EXPECT_FALSE(look({unnamed(500, 500, 2), named(700, 700, 700)}, 1300).end);
}

TEST_F(Sandbox, looks_closely_where_memory_is_shared_or_hidden) {
  const auto verdict = look({unnamed(10, 1200, kUnknown), unnamed(60, 60, kUnknown)}, 1290);
  EXPECT_FALSE(verdict.end);
  EXPECT_EQ(verdict.look, (std::vector<uid_t>{kFirst, kFirst + 1}));
  EXPECT_FALSE(verdict.doubt) << "not yet";
}

TEST_F(Sandbox, waits_for_no_look_where_one_has_too_much_for_certain) {
  const auto verdict = look({unnamed(1220, 1230, kUnknown), unnamed(60, 65, kUnknown)}, 1290);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
}

TEST_F(Sandbox, finds_who_has_what_no_process_has_mapped) {
  const auto verdict = look({unnamed(10, 10, 5000), unnamed(60, 60, 3)}, 1290);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
  EXPECT_EQ(verdict.end->second.use, 1227 * kMiB) << "what is left when all others have the most that they can";
}

TEST_F(Sandbox, finds_who_shows_nothing_when_nobody_else_can_have_it) {
  auto shows_nothing = unnamed(10, 10, kUnknown);
  shows_nothing.look = false;
  const auto verdict = look({shows_nothing, unnamed(60, 60, 3)}, 1290);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
}

TEST_F(Sandbox, lets_the_kernel_take_first_who_can_have_what_nobody_is_seen_to_have) {
  auto hides = unnamed(10, 10, 400), neighbour = unnamed(75, 75, 3);
  EXPECT_TRUE(look({hides, neighbour}, 700).suspects.empty()) << "nobody has looked";
  hides.evidence = 390 * kMiB;
  neighbour.evidence = 3 * kMiB;
  EXPECT_EQ(look({neighbour, hides}, 700).suspects, std::vector<uid_t>{kFirst + 1});
  EXPECT_TRUE(look({neighbour, hides}, 700).above.empty()) << "of nobody it is known for certain";
}

TEST_F(Sandbox, lets_the_kernel_take_all_who_are_above_their_parts_before_their_neighbours) {
  const auto verdict = look({unnamed(450, 450), unnamed(60, 60), unnamed(500, 500)}, 1010);
  EXPECT_EQ(verdict.suspects, (std::vector<uid_t>{kFirst + 2, kFirst}));
}

TEST_F(Sandbox, ends_nobody_in_doubt_and_says_so_once) {
  std::vector<ServerMemory> two{unnamed(10, 10, 2000), unnamed(60, 60, 2000)};
  for (ServerMemory& each : two) each.look = false;
  const auto verdict = look(two, 1290);
  EXPECT_FALSE(verdict.end);
  EXPECT_TRUE(verdict.doubt);
  EXPECT_FALSE(look(two, 1290).doubt);
  two[0].looking = true;
  now += 2min;
  EXPECT_FALSE(look(two, 1290).doubt) << "it is looked at";
}

TEST_F(Sandbox, ends_nobody_for_what_nobody_can_have) {
  // The kernel's memory of files, of which it would give back most.
  auto honest = unnamed(700, 700, 3);
  honest.look = false;
  EXPECT_FALSE(look({honest, unnamed(60, 60, 3)}, 1290).end);
}

TEST_F(Sandbox, gives_time_to_give_memory_back) {
  std::vector<ServerMemory> two{unnamed(700, 700), unnamed(690, 690), unnamed(20, 20)};
  ASSERT_TRUE(look(two, 1400).end);
  two[0].ending = true;
  EXPECT_FALSE(look(two, 1400).end);
  EXPECT_TRUE(gauge.near());
  const auto other = look({unnamed(0, 0), unnamed(1300, 1300), unnamed(20, 20)}, 1320);
  ASSERT_TRUE(other.end) << "it has given back what it had";
  EXPECT_EQ(other.end->first, kFirst + 1);
}

TEST_F(Sandbox, counts_what_it_sees_where_the_kernel_says_nothing) {
  use.ceiling = 0;
  use.measured = false;
  use.sure = 80 * kMiB;
  const auto shared = look({unnamed(10, 700), unnamed(10, 700), unnamed(60, 60)}, 1460);
  EXPECT_EQ(shared.look.size(), 2u);
  EXPECT_FALSE(shared.end);
  EXPECT_TRUE(look({unnamed(300, 300), unnamed(200, 200), unnamed(60, 60)}, 560).suspects.empty());
  use.sure = 1350 * kMiB;
  const auto verdict = look({unnamed(650, 650), unnamed(640, 640), unnamed(60, 60)}, 1350);
  ASSERT_TRUE(verdict.end);
  EXPECT_EQ(verdict.end->first, kFirst);
}

TEST(GroupUse, leaves_out_what_the_kernel_gives_back) {
  const auto first =
      parse_group_use(false, "1000000\n", "5000000\n", "cache 7\ntotal_cache 600000\ntotal_shmem 200000\n");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->used, 600'000u);
  EXPECT_EQ(first->limit, 5'000'000u);
  const auto second =
      parse_group_use(true, "1000000\n", "max\n", "anon 1\nfile 600000\nshmem 200000\nslab_reclaimable 100000\n");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->used, 500'000u);
  EXPECT_EQ(second->limit, 0u);
  EXPECT_EQ(parse_group_use(false, "1\n", "9223372036854771712\n", "total_cache 0\n")->limit, 0u);
  EXPECT_FALSE(parse_group_use(false, "", "", ""));
}

TEST(GroupUse, of_the_machine_is_shared_and_kernel_memory) {
  EXPECT_EQ(parse_machine_use("MemTotal: 9 kB\nShmem:   10 kB\nShmemHugePages: 3 kB\nSUnreclaim:  5 kB\n"), 15u * 1024);
  EXPECT_FALSE(parse_machine_use("MemTotal: 9 kB\n"));
}

TEST(HiddenMemory, is_bounded_by_objects_mappings_and_descriptors) {
  HiddenMemory hidden;
  EXPECT_EQ(hidden.bytes(0), 0u);
  const char* zero = "10000000-10400000 rw-s 00000000 00:01 407                        /dev/zero (deleted)";
  hidden.mapping(zero, 0);
  hidden.mapping(zero, 0);  // in another process
  EXPECT_EQ(hidden.bytes(0) / kMiB, 4u);
  EXPECT_EQ(hidden.bytes(3 * kMiB) / kMiB, 1u) << "the rest is mapped";
  hidden.mapping("20000000-20001000 rw-s 00000000 00:01 408                        /dev/zero (deleted)", 9 * kMiB);
  EXPECT_EQ(hidden.bytes(0) / kMiB, 13u) << "of which all but a page was unmapped";
  const std::uint64_t before = hidden.bytes(0);
  hidden.descriptor("socket:[7]");
  hidden.descriptor("socket:[7]");
  hidden.descriptor("/dev/null");
  EXPECT_EQ(hidden.bytes(0) - before, 416u << 10);
  EXPECT_TRUE(hidden.known());
  hidden.process(-1, 1 << 29);
  EXPECT_TRUE(hidden.known()) << "it has ended";
}

TEST(CloseLook, says_what_can_be_hidden) {
  const auto found = parse_look(Op<std::string>("100 50."));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bytes, 100u);
  EXPECT_EQ(found->hidden, 50u);
  EXPECT_TRUE(found->hidden_all);
  EXPECT_FALSE(parse_look(Op<std::string>("100 50"))->hidden_all);
  EXPECT_FALSE(parse_look(Op<std::string>("100+"))->hidden);
  const auto cut_off = parse_look(Op<std::string>("100+ 50"));
  EXPECT_FALSE(cut_off->all);
  EXPECT_EQ(cut_off->hidden, 50u);
  EXPECT_FALSE(cut_off->hidden_all);
}

TEST(LookPace, gives_more_time_to_who_cannot_be_looked_at_in_it) {
  LookPace pace(LookPace::kHurried);
  EXPECT_EQ(pace.time(), 300ms);
  pace.answered(false);
  pace.answered(false);
  EXPECT_EQ(pace.time(), 1200ms);
  pace.answered(true);
  EXPECT_EQ(pace.time(), 600ms);
  for (int i = 0; i < 20; ++i) pace.answered(false);
  EXPECT_EQ(pace.time(), LookPace::kLongest);
  for (int i = 0; i < 20; ++i) pace.answered(true);
  EXPECT_EQ(pace.time(), 300ms);
}

// Nothing is measured: what servers are seen to have is all there is. 1,200 MiB for three of them.
struct Watch : testing::Test {
  SandboxWatch::Round round(std::uint64_t first, std::uint64_t second) {
    std::vector<SandboxWatch::Seen> seen;
    for (const std::uint64_t bytes : {first * kMiB, second * kMiB, 60 * kMiB}) {
      seen.push_back({kFirst + static_cast<uid_t>(seen.size()), 0, 1200 * kMiB, false, {bytes, bytes, 1}, 0});
    }
    return watch.round(seen, now += 100ms);
  }

  // A directory without such files.
  UniqueFd nowhere{::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  SandboxWatch watch{nowhere.get(), [](uid_t) { return std::nullopt; }};
  SandboxWatch::TimePoint now{};
};
using Turns = std::vector<std::pair<uid_t, KernelTurn>>;

TEST_F(Watch, tells_the_kernel_of_all_who_are_above_and_again_only_after_a_time) {
  EXPECT_EQ(round(450, 500).turns, (Turns{{kFirst + 1, KernelTurn::kFirst}, {kFirst, KernelTurn::kEarly}}));
  EXPECT_EQ(round(510, 500).turns, Turns{}) << "which changes too often";
  now += 500ms;
  EXPECT_EQ(round(510, 500).turns, (Turns{{kFirst, KernelTurn::kFirst}, {kFirst + 1, KernelTurn::kEarly}}));
  EXPECT_EQ(round(510, 300).turns, (Turns{{kFirst + 1, KernelTurn::kUsual}}));
}

TEST_F(Watch, remembers_who_was_above_when_the_kernel_has_taken_most_of_it) {
  (void)round(700, 90);
  (void)round(40, 90);
  ASSERT_TRUE(watch.above(kFirst));
  EXPECT_EQ(watch.above(kFirst)->use, 700 * kMiB);
  EXPECT_FALSE(watch.above(kFirst + 1));
  now += 5s;
  (void)round(40, 90);
  EXPECT_FALSE(watch.above(kFirst)) << "too long ago";
}

}  // namespace
}  // namespace mcpbox::box::init
