// What PID 1 counts of a process that is not its own user's.
#include "box/init/accountant.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

constexpr uid_t kMapper = 1'900'000'021, kPlain = 1'900'000'022;

// A process of the uid that has run `first` and waits for its end.
template <class First>
pid_t child(uid_t uid, const First& first) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd told(ends[0]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    first();
    if (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) ::_exit(1);
    (void)!::write(ends[1], "x", 1);
    for (;;) ::pause();
  }
  ::close(ends[1]);
  char byte = 0;
  EXPECT_EQ(::read(told.get(), &byte, 1), 1);
  return pid;
}

// It counts in ru_maxrss, which says of who has ended what the most was.
TEST(AccountantTest, tells_files_that_are_mapped_from_memory) {
  constexpr std::size_t kSize = 96u << 20;
  char name[] = "/var/tmp/mcpbox-mapped-XXXXXX";  // no memory file system
  const UniqueFd file(::mkostemp(name, O_CLOEXEC));
  ASSERT_TRUE(file);
  ::unlink(name);
  const std::string piece(1u << 20, 'x');
  for (std::size_t at = 0; at < kSize; at += piece.size())
    ASSERT_EQ(::write(file.get(), piece.data(), piece.size()), static_cast<ssize_t>(piece.size()));
  // The kernel touches the pages, so that no sanitizer keeps books about them.
  const pid_t mapper = child(kMapper, [&] {
    if (::mmap(nullptr, kSize, PROT_READ, MAP_SHARED | MAP_POPULATE, file.get(), 0) == MAP_FAILED) ::_exit(1);
  });
  const pid_t plain = child(kPlain, [] {});
  EventLoop loop;
  const auto ignore = [](auto&&...) {};
  Accountant accountant(loop, {ignore, ignore, ignore, ignore, [](uid_t) { return std::nullopt; }, -1});
  accountant.watch(mapper, kMapper, kMapper, {}, {}, 0, 0);
  accountant.watch(plain, kPlain, kPlain, {}, {}, 0, 0);
  loop.at(EventLoop::Clock::now() + std::chrono::seconds(1), [&] { loop.stop(); });
  EXPECT_EQ(loop.run(), 0);
  EXPECT_GE(accountant.mapped_by(kMapper), kSize);
  EXPECT_LT(accountant.memory_of(kMapper), accountant.memory_of(kPlain) + kSize / 2);
  ::kill(mapper, SIGKILL);
  ::kill(plain, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(plain, &status, 0), plain);
  struct rusage usage{};
  ASSERT_EQ(::wait4(mapper, &status, 0, &usage), mapper);
  EXPECT_GE(static_cast<std::size_t>(usage.ru_maxrss) * 1024, kSize);
  accountant.unwatch(kPlain);
  accountant.unwatch(kMapper);
  EXPECT_EQ(accountant.mapped_by(kMapper), 0u);
}

}  // namespace
}  // namespace mcpbox::box::init
