// PID 1's helpers and descriptors, without a sandbox.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "box/init/descriptors.h"
#include "box/init/helper.h"

namespace mcpbox::box::init {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct HelpersTest : testing::Test {
  EventLoop loop;
  Helpers helpers{loop};
  std::map<std::string, Op<std::string>> answers;

  void start(const std::string& name, Work work, std::function<void()> then = {}) {
    helpers.start(std::move(work), {}, seconds(20), [this, name, then = std::move(then)](Op<std::string> answer) {
      answers.emplace(name, std::move(answer));
      if (then) then();
    });
  }
  static void no_more_files(bool wanted) {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = wanted ? 3 : files.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  }
  void reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) helpers.reaped(pid);
    if (answers.size() >= wanted_ || EventLoop::Clock::now() >= until_) return loop.stop();
    loop.at(EventLoop::Clock::now() + milliseconds(2), [this] { reap(); });
  }
  // Until so many have answered.
  void run_until(std::size_t count, seconds limit) {
    wanted_ = count;
    until_ = EventLoop::Clock::now() + limit;
    reap();
    EXPECT_EQ(loop.run(), 0);
  }

 private:
  std::size_t wanted_ = 0;
  EventLoop::Clock::time_point until_;
};

Work says(std::string text) {
  return [text = std::move(text)](const Answer& answer) { answer(text); };
}

// 64 work, two wait. When one of the 64 ends and the first that waits cannot be started, the second is, at once.
TEST_F(HelpersTest, one_that_cannot_be_started_lets_the_next_one_run) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd hold(ends[0]), release(ends[1]);
  // The others end with the pipe that they read.
  int blocked[2];
  ASSERT_EQ(::pipe2(blocked, O_CLOEXEC), 0);
  UniqueFd blocked_read(blocked[0]), blocked_write(blocked[1]);
  for (int i = 0; i < 63; ++i) {
    helpers.start(
        [fd = blocked_read.get()](const Answer&) {
          char byte = 0;
          (void)!::read(fd, &byte, 1);
        },
        {blocked_read.get()}, seconds(30), [](auto) {});
  }
  helpers.start(
      [fd = hold.get()](const Answer& answer) {
        char byte = 0;
        (void)!::read(fd, &byte, 1);
        answer(std::string("first"));
      },
      {hold.get()}, seconds(30), [&](Op<std::string> answer) { answers.emplace("first", std::move(answer)); });
  start("second", says("2"), [] { no_more_files(false); });
  start("third", says("3"));
  ASSERT_EQ(::write(release.get(), "x", 1), 1);
  no_more_files(true);  // not when the first answered: it may have been reaped before that
  run_until(3, seconds(10));
  no_more_files(false);
  ASSERT_TRUE(answers.contains("second"));
  EXPECT_FALSE(answers.at("second"));
  ASSERT_TRUE(answers.contains("third")) << "it waits for another one to end";
  EXPECT_EQ(answers.at("third").value(), "3");
  blocked_write.reset();
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
}

TEST(EventLoopTest, says_that_it_cannot_watch) {
  EventLoop loop;
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(loop.watch(file.get(), 1, [](unsigned) {}), EPERM);  // no file of a disk can be waited for
  EXPECT_EQ(loop.watch(-1, 1, [](unsigned) {}), EBADF);
}

// A child whose sources have the numbers of the targets, in another order.
TEST(Descriptors, stdio_may_come_from_any_numbers) {
  int in[2], out[2], err[2], report[2];
  for (int* ends : {in, out, err, report}) ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(err[1], 0);
    ::dup2(in[0], 1);
    ::dup2(report[1], 2);
    ::dup2(out[1], 3);
    int kept = 2;
    const int stdio[3] = {1, 3, 0};
    if (take_stdio(stdio, kept) != 0 || kept != 3) ::_exit(1);
    char byte = 0;
    if (::read(0, &byte, 1) != 1 || byte != 'i') ::_exit(2);
    (void)!::write(1, "o", 1);
    (void)!::write(2, "e", 1);
    (void)!::write(3, "r", 1);
    ::_exit(0);
  }
  ASSERT_EQ(::write(in[1], "i", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  char bytes[3] = {};
  for (int i = 0; const int* ends : {out, err, report}) EXPECT_EQ(::read(ends[0], &bytes[i++], 1), 1);
  EXPECT_EQ(std::string(bytes, 3), "oer");
  for (int* ends : {in, out, err, report}) {
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

TEST(Descriptors, what_is_missing_of_stdio_is_dev_null) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(0);
    ::close(2);
    if (open_missing_stdio() != 0 || ::fcntl(0, F_GETFD) < 0 || ::fcntl(2, F_GETFD) < 0) ::_exit(1);
    char byte = 0;
    ::_exit(::read(0, &byte, 1) == 0 && ::write(2, "x", 1) == 1 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace mcpbox::box::init
