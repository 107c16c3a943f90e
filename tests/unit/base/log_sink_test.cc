#include "base/log_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/log.h"
#include "base/unique_fd.h"

namespace mcpbox::log {
namespace {

struct Ends {
  UniqueFd read, write;
};
Ends make_pipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}
std::string all_there(int fd) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  std::string out;
  char buffer[65536];
  for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(got));
  return out;
}
std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

const std::string kLine = std::string(99, 'x') + "\n";

// Nobody reads for as long as it writes: what waits for a reader is killed by the alarm.
int exit_of_writer(int fd) {
  const pid_t writer = ::fork();
  if (writer == 0) {
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(60);
    ::dup2(fd, STDERR_FILENO);
    configure(Level::kInfo, Format::kText);
    for (int i = 0; i < 5000; ++i) info("server", "{}", kLine);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(writer, &status, 0), writer);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Log, stands_still_at_no_pipe_that_nobody_reads) {
  const Ends pipe = make_pipe();
  EXPECT_EQ(exit_of_writer(pipe.write.get()), 0);
  EXPECT_GE(lines_in(all_there(pipe.read.get())), 100u);
}

TEST(Log, stands_still_at_no_socket_that_nobody_reads) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd read(ends[0]), write(ends[1]);
  EXPECT_EQ(exit_of_writer(write.get()), 0);
  EXPECT_GE(lines_in(all_there(read.get())), 20u);
}

TEST(LineSink, counts_what_it_left_out_and_breaks_no_line_that_it_began) {
  const Ends pipe = make_pipe();
  LineSink sink(pipe.write.get());
  const int size = ::fcntl(pipe.write.get(), F_GETPIPE_SZ);
  ASSERT_GT(size, 0);
  const std::size_t fits = static_cast<std::size_t>(size) / kLine.size();
  for (std::size_t i = 0; i < fits + 50; ++i) sink.line(kLine);
  const std::string before = all_there(pipe.read.get());
  sink.line("next\n");
  const std::string after = all_there(pipe.read.get());
  const std::string all = before + after;
  EXPECT_TRUE(all.ends_with("lines of the log were left out here: nobody read it\nnext\n")) << after;
  const std::size_t whole = lines_in(all) - 2;
  EXPECT_NE(all.find("\n" + std::to_string(fits + 50 - whole) + " lines of the log"), std::string::npos) << after;
  for (std::size_t i = 0; i < whole; ++i) ASSERT_EQ(all.substr(i * kLine.size(), kLine.size()), kLine);
  sink.line("and on\n");
  EXPECT_EQ(all_there(pipe.read.get()), "and on\n");
}

TEST(LineSink, writes_long_lines_whole) {
  const Ends pipe = make_pipe();
  LineSink sink(pipe.write.get());
  const std::string line = std::string(20'000, 'y') + "\n";
  sink.line(line);
  EXPECT_EQ(all_there(pipe.read.get()), line);
}

TEST(LineSink, goes_on_when_its_reader_is_gone) {
  ::signal(SIGPIPE, SIG_IGN);
  Ends pipe = make_pipe();
  LineSink sink(pipe.write.get());
  pipe.read.reset();
  for (int i = 0; i < 3; ++i) sink.line(kLine);
}

}  // namespace
}  // namespace mcpbox::log
