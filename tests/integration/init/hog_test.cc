#include <signal.h>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using InitHog = Init;

// Several, so that it gets what it wants on a busy machine, too.
const std::string kSpin =
    "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do { while :; do :; done; } & done; echo up; while :; do :; done";
const std::vector<std::string> kDeafSpinner = {"sh", "-c", "trap '' TERM; " + kSpin};

TEST_F(InitHog, that_hears_nothing_and_goes_on_is_ended_and_who_only_waits_is_not) {
  const std::vector<std::string> waits = {"sh", "-c", "trap '' TERM; echo up; sleep 1000"};
  auto spinner = must_spawn(spec("spinner", kDeafSpinner));
  auto quiet = must_spawn(spec("quiet", waits, kBob));
  for (auto* each : {&spinner, &quiet}) EXPECT_EQ(read_line(each->pipes.out.get()), "up");
  ASSERT_THAT(run(supervisor->close_stdin("quiet", true)), succeeds());
  ASSERT_THAT(run(supervisor->close_stdin("spinner", true)), succeeds());
  EXPECT_EQ(exit_of("spinner").signal, SIGKILL);
  auto listed = run(supervisor->list());
  ASSERT_THAT(listed, succeeds());
  for (const box::ProcessStatus& each : *listed) EXPECT_EQ(each.running, each.id == "quiet") << each.id;
}

// To write out what it has, it may work as hard as it can; also when it has heard SIGTERM and hears no second one.
TEST_F(InitHog, is_nobody_who_begins_to_work_when_it_is_to_end) {
  const std::string work = "n=0; while [ $n -lt 2000000 ]; do n=$((n+1)); done; echo written; ";
  auto one = must_spawn(spec("one", {"sh", "-c", "echo up; cat; trap '' TERM; " + work}));
  EXPECT_EQ(read_line(one.pipes.out.get()), "up");
  one.pipes.in.reset();
  ASSERT_THAT(run(supervisor->close_stdin("one", true)), succeeds());
  const box::ProcessExit exit = exit_of("one");
  EXPECT_EQ(exit.signal, 0);
  EXPECT_EQ(exit.code, 0);
  EXPECT_GT(exit.user_time + exit.system_time, std::chrono::milliseconds(800)) << "it has to work harder";
  EXPECT_EQ(read_line(one.pipes.out.get()), "written");
}

TEST_F(InitHog, works_on_when_its_input_ends_and_nobody_wants_it_to_end) {
  auto one = must_spawn(spec("one", kDeafSpinner));
  EXPECT_EQ(read_line(one.pipes.out.get()), "up");
  ASSERT_THAT(run(supervisor->close_stdin("one")), succeeds());
  loop.restart();
  loop.run_for(std::chrono::milliseconds(1500));
  EXPECT_FALSE(exits.contains("one"));
}

// It could be told by SIGTERM, and is known for what it did before.
TEST_F(InitHog, that_kept_the_processors_busy_is_named_and_is_ended_when_it_goes_on) {
  std::optional<box::ProcessPressure> told;
  supervisor->on_pressure([&](const std::string& id, const box::ProcessPressure& pressure) {
    EXPECT_EQ(id, "spinner");
    told = pressure;
  });
  auto spinner = must_spawn(spec("spinner", {"sh", "-c", "trap 'echo heard' TERM; " + kSpin}));
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "up");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  loop.restart();
  while (!told && std::chrono::steady_clock::now() < deadline) {
    loop.run_one_until(deadline);
    if (loop.stopped()) loop.restart();
  }
  ASSERT_TRUE(told);
  EXPECT_GT(told->processors, 0.5);
  EXPECT_GE(told->tasks, 16u);
  ASSERT_THAT(run(supervisor->close_stdin("spinner", true)), succeeds());
  EXPECT_EQ(exit_of("spinner").signal, SIGKILL);
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "heard");
}

}  // namespace
}  // namespace mcpbox::test
