#include "sys/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace mcpbox::sys {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
  // What was written until the last writer closed.
  std::string all() {
    write.reset();
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t size = 0; (size = ::read(read.get(), buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(size));
    return text;
  }
  UniqueFd read, write;
};

SpawnOptions shell(const std::string& script) {
  SpawnOptions options;
  options.program = "/bin/sh";
  options.argv = {"sh", "-c", script};
  options.env = {"PATH=/usr/bin:/bin"};
  return options;
}

void wait_for(Child& child) {
  pollfd ended{child.pidfd(), POLLIN, 0};
  ASSERT_EQ(::poll(&ended, 1, 10000), 1);
  ASSERT_TRUE(child.reap());
}

TEST(Child, gets_the_descriptors_that_are_listed_and_no_other) {
  const UniqueFd inheritable(::open("/dev/zero", O_RDONLY));  // not close-on-exec
  Pipe out;
  auto options = shell("for fd in /proc/self/fd/*; do readlink $fd; done; readlink /proc/self/fd/5 >&5");
  Pipe five;
  // Numbers that are in the way of each other: what is 5 in the child may be any number here, also that of `out`.
  options.descriptors = {{out.write.get(), 1}, {five.write.get(), 5}};
  auto child = spawn(options);
  ASSERT_TRUE(child) << child.error().message();
  const std::string seen = out.all();
  EXPECT_EQ(seen.find("/dev/zero"), std::string::npos) << seen;
  std::size_t nulls = 0;
  for (std::size_t at = seen.find("/dev/null"); at != std::string::npos; at = seen.find("/dev/null", at + 1)) ++nulls;
  EXPECT_EQ(nulls, 2u) << seen;  // 0 and 2
  EXPECT_TRUE(five.all().starts_with("pipe:"));
  wait_for(*child);
  EXPECT_EQ(child->exit().code, 0);
}

TEST(Child, descriptors_may_change_places) {
  Pipe one, two;
  // Sources that are the numbers of other targets.
  const int low = std::min(one.write.get(), two.write.get()), high = std::max(one.write.get(), two.write.get());
  auto options = shell("echo low >&" + std::to_string(high) + "; echo high >&" + std::to_string(low));
  options.descriptors = {{low, high}, {high, low}};
  auto child = spawn(options);
  ASSERT_TRUE(child) << child.error().message();
  EXPECT_EQ((one.write.get() == low ? one : two).all(), "low\n");
  EXPECT_EQ((one.write ? one : two).all(), "high\n");
}

TEST(Child, has_default_signals_and_a_group_or_a_session_of_its_own) {
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, old;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &blocked, &old);
  for (const bool session : {false, true}) {
    Pipe out;
    auto options = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat");
    options.session = session;
    options.descriptors = {{out.write.get(), 1}};
    auto child = spawn(options);
    ASSERT_TRUE(child) << child.error().message();
    unsigned long long mask = 1, ignored = 1;
    int id = 0, group = 0, of = 0;
    ASSERT_EQ(std::sscanf(out.all().c_str(), "SigBlk: %llx SigIgn: %llx %d %d %d", &mask, &ignored, &id, &group, &of),
              5);
    EXPECT_EQ(mask, 0u);
    EXPECT_EQ(ignored & 0x7fffffffu, 0u);  // glibc leaves its own two, 32 and 33, ignored
    EXPECT_EQ(id, child->pid());
    EXPECT_EQ(group, child->pid());
    EXPECT_EQ(of, session ? child->pid() : ::getsid(0));
  }
  ::sigprocmask(SIG_SETMASK, &old, nullptr);
  ::signal(SIGPIPE, before);
}

TEST(Child, one_that_is_dropped_is_killed_with_its_group_and_reaped) {
  Pipe out;
  pid_t pid = 0;
  {
    auto options = shell("sleep 600 & echo started; wait");
    options.descriptors = {{out.write.get(), 1}};
    auto child = spawn(options);
    ASSERT_TRUE(child);
    pid = child->pid();
    std::array<char, 8> started{};
    ASSERT_EQ(::read(out.read.get(), started.data(), started.size()), 8);
  }
  EXPECT_NE(::kill(pid, 0), 0);
  EXPECT_EQ(out.all(), "");  // ends with the last of the group that holds the pipe
}

TEST(Child, says_how_it_ended_and_is_not_signalled_afterwards) {
  auto child = spawn(shell("exit 7"));
  ASSERT_TRUE(child);
  wait_for(*child);
  EXPECT_EQ(child->exit().code, 7);
  child->kill_group();
  auto killed = spawn(shell("kill -TERM $$"));
  ASSERT_TRUE(killed);
  wait_for(*killed);
  EXPECT_EQ(killed->exit().signal, SIGTERM);
  EXPECT_EQ(killed->exit().code, -1);
}

TEST(Child, a_program_that_is_not_there_is_an_error_and_leaves_nothing) {
  SpawnOptions options;
  options.program = "/no/such/program";
  options.argv = {"program"};
  const auto child = spawn(options);
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code(), Code::kNotFound);
  siginfo_t info{};
  EXPECT_NE(::waitid(P_ALL, 0, &info, WEXITED | WNOHANG), 0);  // ECHILD
}

}  // namespace
}  // namespace mcpbox::sys
