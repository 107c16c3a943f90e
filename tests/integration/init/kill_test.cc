#include <signal.h>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using InitKill = Init;

// How many processes of a uid there are, as another uid sees them.
std::string count_command(uid_t uid) {
  return "grep -l '^Uid:.*" + std::to_string(uid) + "' /proc/[0-9]*/status 2>/dev/null | wc -l";
}

TEST_F(InitKill, leaves_nothing_of_a_fork_bomb) {
  auto bomb = spec("bomb", {"/opt/tests/test_forkbomb"});
  bomb.limits.processes = 60;
  auto spawned = must_spawn(bomb);
  EXPECT_EQ(read_line(spawned.pipes.out.get()), "full");  // the limit was reached
  // The neighbour can still fork.
  EXPECT_EQ(output_of(spec("neighbour", {"sh", "-c", "echo $(echo fine)"}, kBob)).out, "fine\n");
  auto alive = run(supervisor->kill_uid(kAlice, SIGKILL));
  ASSERT_THAT(alive, succeeds());
  EXPECT_EQ(*alive, 0u);
  EXPECT_EQ(exit_of("bomb").signal, SIGKILL);
  EXPECT_EQ(output_of(spec("count", {"sh", "-c", count_command(kAlice)}, kBob)).out, "0\n");
}

TEST_F(InitKill, reaches_daemons_that_ignore_sigterm) {
  auto what = spec("daemon", {"/opt/tests/test_daemonize"});
  auto spawned = must_spawn(what);
  EXPECT_EQ(read_line(spawned.pipes.out.get()), "daemon is up");
  EXPECT_EQ(exit_of("daemon").code,
            0);  // the one that we started is gone; its grandchild lives in a session of its own
  auto polite = run(supervisor->kill_uid(kAlice, SIGTERM));
  ASSERT_TRUE(polite);
  EXPECT_EQ(*polite, 1u);
  auto killed = run(supervisor->kill_uid(kAlice, SIGKILL));
  ASSERT_TRUE(killed);
  EXPECT_EQ(*killed, 0u);
  EXPECT_EQ(read_to_end(spawned.pipes.out.get()), "");  // nobody holds the pipe any more
}

TEST_F(InitKill, spares_other_uids) {
  auto bob = must_spawn(spec("bob", {"cat"}, kBob));
  auto alice = must_spawn(spec("alice", {"cat"}, kAlice));
  EXPECT_EQ(*run(supervisor->kill_uid(kAlice, SIGKILL)), 0u);
  EXPECT_EQ(exit_of("alice").signal, SIGKILL);
  write_text(bob.pipes.in.get(), "still here\n");
  EXPECT_EQ(read_line(bob.pipes.out.get()), "still here");
}

TEST_F(InitKill, refuses_root_and_other_signals) {
  EXPECT_EQ(run(supervisor->kill_uid(0, SIGKILL)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(run(supervisor->kill_uid(kAlice, SIGUSR1)).error().code(), Code::kInvalidArgument);
}

TEST_F(InitKill, reaps_every_orphan) {
  EXPECT_EQ(output_of(spec("orphans", {"sh", "-c", "for i in 1 2 3 4 5; do (true & ) ; done"})).exit.code, 0);
  EXPECT_EQ(*run(supervisor->kill_uid(kAlice, SIGKILL)), 0u);
  EXPECT_EQ(
      output_of(spec("zombies", {"sh", "-c", "grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l"}, kBob))
          .out,
      "0\n");
}

}  // namespace
}  // namespace mcpbox::test
