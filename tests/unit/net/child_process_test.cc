#include "net/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "support/run_task.h"

namespace mcpbox::net {
namespace {

struct ChildProcessTest : testing::Test {
  boost::asio::io_context loop;
  std::vector<std::string> out, err;

  ChildOptions shell(std::string script) {
    ChildOptions options;
    options.argv = {"/bin/sh", "-c", std::move(script)};
    options.env = {"PATH=/usr/bin:/bin", "GIVEN=yes"};
    options.on_stdout_line = [this](std::string_view line) { out.emplace_back(line); };
    options.on_stderr_line = [this](std::string_view line) { err.emplace_back(line); };
    return options;
  }
  Result<ChildExit> run(ChildOptions options) { return test::run_task(loop, run_child(std::move(options))); }
};

TEST_F(ChildProcessTest, hands_over_lines_and_the_exit_code) {
  auto ended = run(shell("echo a; echo b >&2; printf 'c\\nd'; exit 7"));
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(ended->code, 7);
  EXPECT_EQ(ended->signal, 0);
  EXPECT_EQ(out, (std::vector<std::string>{"a", "c", "d"}));
  EXPECT_EQ(err, (std::vector<std::string>{"b"}));
}

TEST_F(ChildProcessTest, gives_its_input_and_the_end_of_it) {
  auto options = shell("cat");
  options.input = "one\ntwo";
  ASSERT_TRUE(run(options));
  EXPECT_EQ(out, (std::vector<std::string>{"one", "two"}));
  options.input = std::string(4097, 'x');
  EXPECT_FALSE(run(options));
}

TEST_F(ChildProcessTest, reports_the_signal) {
  auto ended = run(shell("kill -TERM $$"));
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->signal, SIGTERM);
  EXPECT_EQ(ended->code, -1);
}

TEST_F(ChildProcessTest, gives_the_environment_and_no_descriptors_but_three) {
  ASSERT_TRUE(run(shell("echo \"$GIVEN$HOME\"; ls /proc/self/fd | wc -l; cat")));
  // Three, and the one that ls itself reads the folder with.
  EXPECT_EQ(out, (std::vector<std::string>{"yes", "4"}));
}

TEST_F(ChildProcessTest, a_missing_program_is_not_found) {
  ChildOptions options;
  options.argv = {"/nonexistent/program"};
  auto ended = run(std::move(options));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code(), Code::kNotFound);
}

TEST_F(ChildProcessTest, a_long_line_comes_in_pieces) {
  auto options = shell("head -c 250 /dev/zero | tr '\\0' x; echo; echo end");
  options.max_line_bytes = 100;
  ASSERT_TRUE(run(std::move(options)));
  EXPECT_EQ(out, (std::vector<std::string>{std::string(100, 'x'), std::string(100, 'x'), std::string(50, 'x'), "end"}));
}

TEST_F(ChildProcessTest, the_timeout_kills_the_whole_group) {
  auto options = shell("sleep 600 & echo $!; wait");
  options.timeout = std::chrono::milliseconds(300);
  auto ended = run(std::move(options));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code(), Code::kTimeout);
  ASSERT_EQ(out.size(), 1u);
  const pid_t grandchild = static_cast<pid_t>(std::stol(out[0]));
  // SIGKILL was sent; init reaps it whenever it likes, so only "no longer running" can be waited for.
  for (int i = 0; i < 1000 && ::kill(grandchild, 0) == 0; ++i) {
    std::string state = "/proc/" + out[0] + "/stat";
    FILE* file = ::fopen(state.c_str(), "r");
    char text[256] = "";
    if (file != nullptr) {
      if (::fgets(text, sizeof(text), file) == nullptr) text[0] = '\0';
      ::fclose(file);
    }
    if (std::string(text).find(") Z") != std::string::npos) break;
    ::usleep(1000);
    ASSERT_LT(i, 999) << "the grandchild lives on";
  }
}

TEST_F(ChildProcessTest, a_grandchild_that_keeps_the_pipe_does_not_hold_the_result_up) {
  auto options = shell("sleep 30 & echo started");
  options.timeout = std::chrono::seconds(20);
  auto ended = run(std::move(options));
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(ended->code, 0);
  EXPECT_EQ(out, (std::vector<std::string>{"started"}));
}

TEST_F(ChildProcessTest, cancelling_kills_it) {
  auto options = shell("echo ready; sleep 600");
  auto ended = test::run_cancelled(loop, run_child(std::move(options)), [&] { return !out.empty(); });
  ASSERT_TRUE(ended.has_value());
  ASSERT_FALSE(*ended);
  EXPECT_EQ(ended->error().code(), Code::kCancelled);
}

}  // namespace
}  // namespace mcpbox::net
