#include "sys/short_slices.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace mcpbox::sys {
namespace {

// Of sched_setattr(2), of which the C library has no declaration.
struct Attributes {
  std::uint32_t size;
  std::uint32_t policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;  // ns
};
constexpr std::uint64_t kResetOnFork = 1;
constexpr std::uint64_t kShortest = 100'000;

}  // namespace

void ask_for_short_slices() {
  if (::sched_getscheduler(0) != SCHED_OTHER) return;
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  if (nice < 0) return;  // what it starts would lose that (sched(7), "The reset-on-fork flag")
  const Attributes asked{sizeof asked, SCHED_OTHER, kResetOnFork, nice, 0, kShortest, 0, 0};
  (void)::syscall(SYS_sched_setattr, 0, &asked, 0u);
}

}  // namespace mcpbox::sys
