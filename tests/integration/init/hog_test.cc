#include <signal.h>
#include <sys/resource.h>

#include <set>

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
  // Before it can have heard of it: who hears no SIGTERM then has never heard any.
  ASSERT_THAT(run(supervisor->close_stdin("one", true)), succeeds());
  one.pipes.in.reset();
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

int priority_of(pid_t pid) {
  return ::getpriority(PRIO_PROCESS, static_cast<id_t>(pid));
}

class InitPlaces : public Init {
 protected:
  // Those that it starts all the time have its place, too.
  const std::string busy =
      "p=; for i in 1 2 3 4 5 6 7; do { while :; do :; done; } & p=\"$p $!\"; done; "
      "{ while :; do /bin/true; done; } & p=\"$p $!\"; ";
  box::ProcessSpec nice(std::string id, std::vector<std::string> argv, uid_t uid) {
    auto what = spec(std::move(id), std::move(argv), uid);
    what.nice = 5;
    return what;
  }
  bool become(uid_t uid, const std::set<int>& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(100);
    std::set<int> now;
    while ((now = priorities_of(uid)) != wanted && std::chrono::steady_clock::now() < deadline) wait(200);
    EXPECT_EQ(now, wanted);
    return now == wanted;
  }
  void wait(int milliseconds) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(milliseconds));
  }
};

TEST_F(InitPlaces, of_who_presses_are_behind_the_others_until_it_is_quiet) {
  const int ours = priority_of(sandbox->pid());
  auto spinner =
      must_spawn(nice("spinner", {"sh", "-c", busy + "echo up; read line; kill $p; wait; echo quiet; cat"}, kAlice));
  auto neighbour = must_spawn(nice("neighbour", {"sh", "-c", "echo up; cat"}, kBob));
  for (auto* each : {&spinner, &neighbour}) EXPECT_EQ(read_line(each->pipes.out.get()), "up");
  ASSERT_TRUE(become(kAlice, {kIdle}));
  EXPECT_EQ(priorities_of(kBob), std::set<int>{5});
  EXPECT_EQ(priority_of(sandbox->pid()), ours) << "PID 1 stays where it is";
  // What runs for somebody else is not touched by a server's user id.
  EXPECT_EQ(output_of(spec("other", {"nice"}, kBob)).out, "0\n");
  write_text(spinner.pipes.in.get(), "enough\n");
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "quiet");
  EXPECT_TRUE(become(kAlice, {5}));
}

// It is no hog by name yet, and would end at SIGTERM; nobody waits until the usual time for that.
TEST_F(InitPlaces, behind_the_others_mean_an_end_by_sigterm_for_who_goes_on_when_it_is_told_to_end) {
  auto neighbour = must_spawn(spec("neighbour", {"cat"}, kBob));
  auto spinner = must_spawn(spec("spinner", {"sh", "-c", kSpin}));
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "up");
  ASSERT_TRUE(become(kAlice, {kIdle}));
  ASSERT_THAT(run(supervisor->close_stdin("spinner", true)), succeeds());
  EXPECT_EQ(exit_of("spinner").signal, SIGTERM);
}

TEST_F(InitPlaces, of_who_comes_again_soon_are_behind_from_the_start) {
  auto spinner = must_spawn(nice("spinner", {"sh", "-c", busy + "echo up; wait"}, kAlice));
  auto neighbour = must_spawn(nice("neighbour", {"cat"}, kBob));
  ASSERT_TRUE(become(kAlice, {kIdle}));
  ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds());
  EXPECT_EQ(exit_of("spinner").signal, SIGKILL);
  ASSERT_THAT(run(supervisor->forget("spinner")), succeeds());
  auto again = must_spawn(nice("again", {"cat"}, kAlice));
  EXPECT_EQ(priorities_of(kAlice), std::set<int>{kIdle});
  EXPECT_TRUE(become(kAlice, {5}));
}

// PID 1 is fast, and nobody inherits that, nor the right to it.
TEST_F(InitPlaces, before_the_servers_is_that_of_pid_1_alone) {
  EXPECT_LT(priority_of(sandbox->pid()), 0);
  EXPECT_EQ(output_of(spec("plain", {"nice"})).out, "0\n");
  const std::string limits = "awk '/nice|realtime priority/ {print $(NF-1), $NF}' /proc/self/limits";
  EXPECT_EQ(output_of(spec("limits", {"sh", "-c", limits})).out, "0 0\n0 0\n");
  EXPECT_NE(output_of(spec("raise", {"sh", "-c", "[ $(nice -n -1 nice 2>/dev/null) -lt 0 ]"})).exit.code, 0);
}

struct InitNoPlaces : InitPlaces {
  void SetUp() override { start({}, false, false); }
};

TEST_F(InitNoPlaces, are_chosen_where_nobody_could_be_taken_back) {
  bool told = false;
  supervisor->on_pressure([&](const std::string&, const box::ProcessPressure&) { told = true; });
  auto spinner = must_spawn(nice("spinner", {"sh", "-c", busy + "echo up; wait"}, kAlice));
  auto neighbour = must_spawn(nice("neighbour", {"cat"}, kBob));
  EXPECT_EQ(read_line(spinner.pipes.out.get()), "up");
  for (int n = 0; n < 600 && !told; ++n) wait(200);
  EXPECT_TRUE(told) << "it presses long since";
  EXPECT_EQ(priorities_of(kAlice), std::set<int>{5});
  EXPECT_EQ(priority_of(sandbox->pid()), 0);
}

}  // namespace
}  // namespace mcpbox::test
