#include "sys/file_lock.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "support/temp_tree.h"

namespace mcpbox::sys {
namespace {

TEST(FileLock, is_shared_by_readers_and_held_by_one_writer) {
  const test::TempTree tree;
  const std::string path = tree.path("lock");
  const auto one = FileLock::take(path, LockMode::kShared, LockWait::kNo);
  auto two = FileLock::take(path, LockMode::kShared, LockWait::kNo);
  ASSERT_TRUE(one && two);
  const auto writer = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error(), EWOULDBLOCK);
}

TEST(FileLock, a_removed_file_is_no_lock_for_those_who_waited_for_it) {
  const test::TempTree tree;
  const std::string path = tree.path("lock");
  auto first = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
  ASSERT_TRUE(first);
  first->remove();
  EXPECT_FALSE(std::filesystem::exists(path));
  const auto second = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
  ASSERT_TRUE(second);
  EXPECT_FALSE(FileLock::take(path, LockMode::kExclusive, LockWait::kNo));
}

TEST(FileLock, a_program_that_is_executed_does_not_go_on_holding_it) {
  const test::TempTree tree;
  const std::string path = tree.path("lock");
  pid_t sleeper = -1;
  {
    const auto held = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
    ASSERT_TRUE(held);
    std::string name = "sleep", seconds = "60";
    char* argv[] = {name.data(), seconds.data(), nullptr};
    ASSERT_EQ(::posix_spawnp(&sleeper, "sleep", nullptr, nullptr, argv, nullptr), 0);
  }
  EXPECT_TRUE(FileLock::take(path, LockMode::kExclusive, LockWait::kNo));
  ::kill(sleeper, SIGKILL);
  ::waitpid(sleeper, nullptr, 0);
}

TEST(FileLock, names_the_process_that_signed_it_and_nobody_who_is_gone) {
  const test::TempTree tree;
  const std::string path = tree.path("lock");
  EXPECT_EQ(holder_of(path), 0);
  const auto held = FileLock::take(path, LockMode::kExclusive, LockWait::kNo);
  ASSERT_TRUE(held);
  held->sign();
  EXPECT_EQ(holder_of(path), ::getpid());
  // Beyond the largest process id that Linux gives.
  EXPECT_EQ(holder_of(tree.file("stale", "4194305\n")), 0);
  EXPECT_EQ(holder_of(tree.file("strange", "-1\n")), 0);
}

}  // namespace
}  // namespace mcpbox::sys
