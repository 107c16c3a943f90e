#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <thread>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using InitProcess = Init;

TEST_F(InitProcess, gets_its_argv_and_environment_and_nothing_else) {
  auto what = spec("env", {"env"});
  what.env.push_back("API_KEY=a b");
  const auto output = output_of(what);
  EXPECT_EQ(output.out, "PATH=/usr/local/bin:/usr/bin:/bin\nAPI_KEY=a b\n");
  EXPECT_EQ(output.exit.code, 0);
  EXPECT_EQ(output.exit.signal, 0);
}

TEST_F(InitProcess, echoes_through_its_pipes) {
  auto cat = must_spawn(spec("cat", {"cat"}));
  write_text(cat.pipes.in.get(), "hello\n");
  EXPECT_EQ(read_line(cat.pipes.out.get()), "hello");
  cat.pipes.in.reset();
  ASSERT_THAT(run(supervisor->close_stdin("cat")), succeeds());
  EXPECT_EQ(exit_of("cat").code, 0);
  EXPECT_EQ(read_to_end(cat.pipes.out.get()), "");
}

TEST_F(InitProcess, reports_exit_codes_signals_and_what_it_used) {
  EXPECT_EQ(output_of(spec("three", {"sh", "-c", "exit 3"})).exit.describe(), "exit code 3");
  const auto killed = output_of(spec("term", {"sh", "-c", "kill -TERM $$"})).exit;
  EXPECT_EQ(killed.signal, SIGTERM);
  EXPECT_EQ(killed.describe(), "killed by SIGTERM");
  EXPECT_FALSE(killed.killed_for_memory);
  EXPECT_GT(killed.peak_memory_bytes, 100'000u);
}

TEST_F(InitProcess, names_the_step_that_failed) {
  auto missing = run(supervisor->spawn(spec("a", {"no-such-program"})));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  EXPECT_EQ(missing.error().message(), "exec 'no-such-program': No such file or directory");
  auto no_folder = spec("a", {"true"});
  no_folder.cwd = "/no/such/folder";
  auto folder = run(supervisor->spawn(no_folder));
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code(), Code::kNotFound);
  EXPECT_EQ(folder.error().message(), "enter '/no/such/folder': No such file or directory");
  auto closed = spec("a", {"true"});
  closed.cwd = "/.boxrun";
  EXPECT_EQ(run(supervisor->spawn(closed)).error().code(), Code::kPermissionDenied);
  // None of them is left behind.
  EXPECT_TRUE(run(supervisor->list())->empty());
  EXPECT_EQ(output_of(spec("a", {"echo", "again"})).out, "again\n");
}

TEST_F(InitProcess, is_never_root) {
  auto root = spec("a", {"id"}, 0);
  EXPECT_EQ(run(supervisor->spawn(root)).error().code(), Code::kInvalidArgument);
  auto group = spec("a", {"id"});
  group.gid = 0;
  EXPECT_EQ(run(supervisor->spawn(group)).error().code(), Code::kInvalidArgument);
  const auto id = output_of(spec("b", {"sh", "-c", "id -u; id -g; id -G"})).out;
  EXPECT_EQ(id, "1900000001\n1900000001\n1900000001\n");
}

TEST_F(InitProcess, has_no_capability_no_new_privileges_and_a_filter) {
  const auto status = output_of(spec("status", {"cat", "/proc/self/status"})).out;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_NE(status.find(std::string(set) + ":\t0000000000000000\n"), std::string::npos) << set << "\n" << status;
  }
  EXPECT_NE(status.find("NoNewPrivs:\t1\n"), std::string::npos);
  EXPECT_NE(status.find("Seccomp:\t2\n"), std::string::npos);
  EXPECT_NE(status.find("SigBlk:\t0000000000000000\n"), std::string::npos);
  EXPECT_NE(status.find("SigIgn:\t0000000000000000\n"), std::string::npos);
}

TEST_F(InitProcess, inherits_only_its_three_descriptors) {
  const auto listed =
      output_of(
          spec("fds", {"sh", "-c", "for f in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/self/fd/$f && echo $f; done; true"}))
          .out;
  EXPECT_EQ(listed, "0\n1\n2\n");
}

TEST_F(InitProcess, gets_limits_umask_and_priority) {
  auto what =
      spec("limits", {"sh", "-c", "ulimit -n; ulimit -u; ulimit -c; umask; nice; cat /proc/self/oom_score_adj"});
  what.limits.open_files = 333;
  what.limits.processes = 77;
  what.nice = 5;
  what.oom_score_adj = 700;
  const auto output = output_of(what);
  // dash has no -u, so a line can be missing; the kernel's own words are what counts.
  const auto kernel = [&] {
    auto again = what;
    again.id = "kernel";
    again.argv = {"cat", "/proc/self/limits"};
    return output_of(again).out;
  }();
  EXPECT_NE(kernel.find("Max processes             77                   77"), std::string::npos) << kernel;
  EXPECT_NE(kernel.find("Max open files            333                  333"), std::string::npos) << kernel;
  EXPECT_NE(kernel.find("Max core file size        0                    0"), std::string::npos) << kernel;
  EXPECT_TRUE(output.out.ends_with("0077\n5\n700\n")) << output.out << output.err;
}

TEST_F(InitProcess, runs_on_the_callers_own_descriptors) {
  int in[2], out[2];
  ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  ASSERT_THAT(run(supervisor->spawn_direct(spec("direct", {"cat"}), {in[0], out[1], out[1]})), succeeds());
  ::close(in[0]);
  ::close(out[1]);
  write_text(in[1], "straight\n");
  EXPECT_EQ(read_line(out[0]), "straight");
  ::close(in[1]);  // the supervisor kept none: this is the end of the input
  EXPECT_EQ(exit_of("direct").code, 0);
  EXPECT_EQ(read_to_end(out[0]), "");
  ::close(out[0]);
}

TEST_F(InitProcess, does_not_share_its_id_until_it_is_forgotten) {
  auto first = must_spawn(spec("one", {"cat"}));
  EXPECT_EQ(run(supervisor->spawn(spec("one", {"cat"}))).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(run(supervisor->forget("one")).error().code(), Code::kFailedPrecondition);
  ASSERT_THAT(run(supervisor->signal("one", SIGKILL)), succeeds());
  EXPECT_EQ(exit_of("one").signal, SIGKILL);
  EXPECT_EQ(run(supervisor->signal("one", SIGTERM)).error().code(), Code::kFailedPrecondition);
  ASSERT_THAT(run(supervisor->forget("one")), succeeds());
  EXPECT_EQ(output_of(spec("one", {"echo", "x"})).out, "x\n");
}

TEST_F(InitProcess, never_runs_a_shell_for_a_file_without_an_interpreter) {
  ASSERT_THAT(run(make_tree("/workspace/.mcp/x", kAlice, kAlice, {"home"})), succeeds());
  auto write = spec("write", {"sh", "-c", "echo 'echo pwned' > t; chmod +x t"});
  write.cwd = "/workspace/.mcp/x/home";
  write.confine.read_write = {write.cwd};
  EXPECT_EQ(output_of(write).exit.code, 0);
  auto again = write;
  again.argv = {"./t"};
  auto spawned = run(supervisor->spawn(again));
  ASSERT_FALSE(spawned);
  EXPECT_EQ(spawned.error().message(), "exec './t': Exec format error");
}

TEST_F(InitProcess, finds_what_its_start_prepares) {
  auto what = spec("ready", {"sh", "-c", "cat ../note; id -u; touch mine; ls -ld . | cut -c -10; ls /proc/self/fd"});
  what.cwd = "/workspace/.mcp/x/home";
  what.prepare.trees.push_back({"/workspace/.mcp/x", kAlice, kAlice, {"home"}});
  what.prepare.files.push_back({"/workspace/.mcp/x/note", "for you\n"});
  what.confine.read_write = {what.cwd};
  what.confine.read_only = {"/workspace/.mcp/x/note"};
  const Output output = output_of(what);
  EXPECT_EQ(output.out, "for you\n" + std::to_string(kAlice) + "\ndrwx------\n0\n1\n2\n3\n") << output.err;
}

TEST_F(InitProcess, does_not_run_when_its_folders_cannot_be_made) {
  ASSERT_THAT(run(make_tree("/workspace/.mcp/x", kBob, kBob, {"home"})), succeeds());
  auto what = spec("refused", {"sh", "-c", "echo ran > /workspace/ran"});
  what.prepare.trees.push_back({"/workspace/.mcp/x", kAlice, kAlice, {"home"}});
  what.prepare.files.push_back({"/workspace/.mcp/x/note", "too late"});
  EXPECT_THAT(run(supervisor->spawn(what)), fails(Code::kAlreadyExists));
  EXPECT_THAT(run(supervisor->read_file("/workspace/.mcp/x/note", 100)), fails(Code::kNotFound));
  // A place that is not there is no missing program.
  what.prepare = {{}, {{"/workspace/nowhere/note", "x"}}};
  EXPECT_THAT(run(supervisor->spawn(what)), fails(Code::kInternal));
  // The id is free, and nothing of the uid is there.
  what.prepare = {};
  what.argv = {"true"};
  EXPECT_EQ(output_of(what).exit.code, 0);
}

// PID 1 starts a process whose starter has given up on it: nothing of it is left, and its id and uid can be used again.
TEST_F(InitProcess, whose_start_was_not_confirmed_in_time_is_gone) {
  supervisor = connect(std::chrono::milliseconds(1000));
  ASSERT_TRUE(supervisor);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(::kill(sandbox->pid(), SIGSTOP), 0);
    std::thread later([pid = sandbox->pid()] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1500));
      ::kill(pid, SIGCONT);
    });
    EXPECT_THAT(run(supervisor->spawn(spec("slow", {"sleep", "1000"}))), fails(Code::kTimeout));
    later.join();
    auto listed = run(supervisor->list());
    ASSERT_THAT(listed, succeeds());
    EXPECT_TRUE(listed->empty());
    auto again = run(supervisor->spawn(spec("slow", {"sleep", "1000"})));
    ASSERT_THAT(again, succeeds());
    ASSERT_THAT(run(supervisor->kill_uid(kAlice, SIGKILL)), succeeds());
    ASSERT_THAT(run(supervisor->forget("slow")), succeeds());
  }
}

// A start that was asked for just before: its child has not taken the uid yet when PID 1 looks for the uid.
TEST_F(InitProcess, that_is_only_starting_is_killed_with_its_uid) {
  for (int round = 0; round < 20; ++round) {
    boost::asio::co_spawn(loop, supervisor->spawn(spec("early", {"sleep", "1000"})), [](auto, auto) {});
    boost::asio::co_spawn(loop, supervisor->kill_uid(kAlice, SIGKILL), [](auto, auto) {});
    loop.restart();
    loop.poll();  // both are on their way
    ASSERT_THAT(run(supervisor->list()), succeeds());
    exit_of("early");
    exits.clear();
    ASSERT_THAT(run(supervisor->forget("early")), succeeds()) << "round " << round;
  }
}

}  // namespace
}  // namespace mcpbox::test
