#include "box/init/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace mcpbox::box::init {
namespace {

constexpr int kFirstFree = 4;  // above stdio and the one that is kept

// The same open file under a number that is none of the targets.
int out_of_the_way(int fd) {
  return fd >= kFirstFree ? fd : ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstFree);
}

}  // namespace

int open_missing_stdio() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (errno != EBADF) return errno;
    const int opened = ::open("/dev/null", O_RDWR);  // gets the lowest number that is free: this one
    if (opened < 0) return errno;
    if (opened != fd) return EBADF;
  }
  return 0;
}

int close_all_but(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned first = 3;
  for (const int fd : keep) {
    const auto number = static_cast<unsigned>(fd);
    if (number < first) continue;
    if (number > first && ::syscall(SYS_close_range, first, number - 1, 0u) != 0) return errno;
    first = number + 1;
  }
  return ::syscall(SYS_close_range, first, ~0u, 0u) == 0 ? 0 : errno;
}

int take_stdio(const int (&stdio)[3], int& kept) {
  int sources[3];
  for (int i = 0; i < 3; ++i) {
    sources[i] = out_of_the_way(stdio[i]);
    if (sources[i] < 0) return errno;
  }
  const int spare = out_of_the_way(kept);
  if (spare < 0) return errno;
  kept = spare;
  for (int target = 0; target < 3; ++target) {
    if (::dup2(sources[target], target) < 0) return errno;
  }
  if (::dup3(spare, 3, O_CLOEXEC) < 0) return errno;
  kept = 3;
  return 0;
}

}  // namespace mcpbox::box::init
