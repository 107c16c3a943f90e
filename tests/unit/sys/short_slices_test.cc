#include "sys/short_slices.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace mcpbox::sys {
namespace {

// What sched_getattr(2) says of the calling thread: its policy, and its slice (0 before Linux 6.12).
struct Slice {
  std::uint32_t policy = ~0u;
  std::uint64_t nanoseconds = 0;
  std::int32_t nice = 0;
};
Slice own_slice() {
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } told{};
  if (::syscall(SYS_sched_getattr, 0, &told, sizeof told, 0u) != 0) return {};
  return {told.policy, told.runtime, told.nice};
}

TEST(ShortSlices, are_the_threads_own_and_nobodys_whom_it_starts) {
  const Slice usual = own_slice();
  Slice asked, child;
  std::thread([&] {
    ask_for_short_slices();
    asked = own_slice();
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(own_slice().nanoseconds == usual.nanoseconds ? 0 : 1);
    int status = -1;
    ::waitpid(pid, &status, 0);
    child.nanoseconds = status == 0 ? usual.nanoseconds : 0;
  }).join();
  EXPECT_EQ(asked.policy, static_cast<std::uint32_t>(SCHED_OTHER));
  EXPECT_EQ(asked.nice, usual.nice);
  // A kernel that knows no slices of a thread's own says of none.
  EXPECT_EQ(asked.nanoseconds, usual.nanoseconds == 0 ? 0 : 100'000);
  EXPECT_EQ(child.nanoseconds, usual.nanoseconds);
  EXPECT_EQ(own_slice().nanoseconds, usual.nanoseconds);
}

TEST(ShortSlices, leave_a_policy_alone_that_somebody_chose) {
  std::thread([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_BATCH, &none), 0);
    const Slice before = own_slice();
    ask_for_short_slices();
    EXPECT_EQ(own_slice().policy, static_cast<std::uint32_t>(SCHED_BATCH));
    EXPECT_EQ(own_slice().nanoseconds, before.nanoseconds);
  }).join();
}

}  // namespace
}  // namespace mcpbox::sys
