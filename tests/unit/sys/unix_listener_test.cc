#include "sys/unix_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "support/no_descriptors.h"
#include "support/temp_tree.h"

namespace mcpbox::sys {
namespace {

using testing::HasSubstr;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

bool answers(const std::string& path) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

UniqueFd bind_without_lock(const std::string& path, bool listening) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  if (listening) EXPECT_EQ(::listen(socket.get(), 4), 0);
  return socket;
}

// Runs `body` in a child; its result is the exit code.
pid_t in_a_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

int exit_of(pid_t pid) {
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct UnixListenerTest : testing::Test {
  test::TempTree tree;
  std::string path = tree.path("s");

  Result<UnixListener> listen(std::chrono::milliseconds patience = {}) {
    ListenOptions options;
    options.path = path;
    options.patience = patience;
    return UnixListener::listen(options);
  }
};

// Somebody who takes no lock listens there.
TEST(UnixListenerAlone, leaves_a_socket_that_it_cannot_ask_whether_anybody_listens) {
  test::TempTree tree;
  const std::string path = tree.path("it.sock");
  const UniqueFd other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(other.get(), 4), 0);
  {
    const test::NoDescriptors one(1);  // for the lock
    EXPECT_FALSE(remove_stale_socket(path, std::chrono::milliseconds(0)));
    ListenOptions options;
    options.path = path;
    const auto listener = UnixListener::listen(options);
    ASSERT_FALSE(listener);
    EXPECT_EQ(listener.error().code(), Code::kResourceExhausted) << listener.error().message();
  }
  EXPECT_TRUE(answers(path));
}

TEST_F(UnixListenerTest, of_many_processes_that_start_at_once_exactly_one_serves_and_the_others_name_it) {
  constexpr int kProcesses = 8, kRounds = 50;
  struct Shared {
    std::atomic<int> ready, go, tried, end;
    std::atomic<pid_t> serving;
    std::array<std::atomic<pid_t>, kProcesses> named;
  };
  auto* shared =
      static_cast<Shared*>(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  for (int round = 0; round < kRounds; ++round) {
    new (shared) Shared{};
    std::array<pid_t, kProcesses> children{};
    for (int i = 0; i < kProcesses; ++i) {
      children[static_cast<std::size_t>(i)] = in_a_child([&, i]() -> int {
        ++shared->ready;
        while (shared->go == 0) ::sched_yield();
        const auto listener = listen();
        if (listener) {
          shared->serving = ::getpid();
        } else if (listener.error().code() == Code::kAlreadyExists) {
          int named = 0;
          std::sscanf(listener.error().message().c_str(), "process %d serves", &named);
          shared->named[static_cast<std::size_t>(i)] = named;
        }
        ++shared->tried;
        while (listener && shared->end == 0) ::usleep(500);
        // As SIGKILL leaves it: the next round starts with a stale socket and a stale lock file.
        ::_exit(listener ? 0 : 1);
      });
    }
    while (shared->ready < kProcesses) ::sched_yield();
    shared->go = 1;
    while (shared->tried < kProcesses) ::usleep(200);
    EXPECT_TRUE(answers(path));
    shared->end = 1;
    int served = 0;
    for (int i = 0; i < kProcesses; ++i) {
      const pid_t pid = children[static_cast<std::size_t>(i)];
      if (exit_of(pid) == 0) {
        ++served;
        EXPECT_EQ(shared->serving, pid);
      } else {
        EXPECT_EQ(shared->named[static_cast<std::size_t>(i)], shared->serving) << "round " << round;
      }
    }
    ASSERT_EQ(served, 1) << "round " << round;
  }
  ::munmap(shared, sizeof(Shared));
}

TEST_F(UnixListenerTest, a_late_stop_leaves_a_successors_socket_alone) {
  auto first = listen();
  ASSERT_TRUE(first) << first.error().message();
  // What a cleaner of temporary files does to a daemon that runs.
  ::unlink(path.c_str());
  ::unlink((path + ".lock").c_str());
  auto second = listen();
  ASSERT_TRUE(second) << second.error().message();
  first->remove();
  EXPECT_TRUE(answers(path));
  second->remove();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(UnixListenerTest, removes_its_socket_and_its_lock_at_its_end) {
  {
    auto listener = listen();
    ASSERT_TRUE(listener) << listener.error().message();
    EXPECT_TRUE(answers(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(tree.root()));
}

TEST_F(UnixListenerTest, a_removed_socket_does_not_let_a_second_process_in) {
  auto first = listen();
  ASSERT_TRUE(first);
  ::unlink(path.c_str());
  const auto second = listen();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kAlreadyExists);
  EXPECT_THAT(second.error().message(), HasSubstr("process " + std::to_string(::getpid())));
}

TEST_F(UnixListenerTest, a_socket_that_answers_without_a_lock_is_left_alone) {
  const UniqueFd other = bind_without_lock(path, true);
  const auto refused = listen();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kAlreadyExists);
  EXPECT_THAT(refused.error().message(), HasSubstr("process " + std::to_string(::getpid())));
  EXPECT_FALSE(remove_stale_socket(path));
  EXPECT_TRUE(answers(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".lock"));
}

TEST_F(UnixListenerTest, replaces_the_socket_of_a_process_that_was_killed) {
  const pid_t child = in_a_child([&] {
    const auto listener = listen();
    if (!listener) return 1;
    return ::raise(SIGKILL);
  });
  EXPECT_EQ(exit_of(child), 128 + SIGKILL);
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto next = listen();
  ASSERT_TRUE(next) << next.error().message();
  EXPECT_TRUE(answers(path));
}

TEST_F(UnixListenerTest, waits_for_a_process_that_is_about_to_end) {
  auto first = listen();
  ASSERT_TRUE(first);
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    first->remove();
  });
  const auto second = listen(std::chrono::seconds(10));
  ending.join();
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_TRUE(answers(path));
}

TEST_F(UnixListenerTest, the_socket_has_exactly_the_mode_that_was_asked_whatever_the_umask) {
  for (const mode_t umask : {0000, 0022, 0177}) {
    for (const mode_t mode : {0600, 0660, 0666}) {
      const mode_t before = ::umask(umask);
      ListenOptions options;
      options.path = path;
      options.mode = mode;
      const auto listener = UnixListener::listen(options);
      ::umask(before);
      ASSERT_TRUE(listener) << listener.error().message();
      struct stat status{};
      ASSERT_EQ(::lstat(path.c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 07777, mode) << umask;
    }
  }
}

TEST_F(UnixListenerTest, does_not_replace_what_is_no_socket) {
  tree.file("s", "precious");
  const auto refused = listen();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(remove_stale_socket(path));
  EXPECT_EQ(std::filesystem::file_size(path), 8u);
}

TEST_F(UnixListenerTest, a_stale_socket_goes_with_its_lock) {
  {
    const UniqueFd dead = bind_without_lock(path, false);
  }
  tree.file("s.lock", "1\n");
  EXPECT_TRUE(remove_stale_socket(path));
  EXPECT_TRUE(std::filesystem::is_empty(tree.root()));
  EXPECT_FALSE(remove_stale_socket(tree.path("no/such/folder/s")));
}

}  // namespace
}  // namespace mcpbox::sys
