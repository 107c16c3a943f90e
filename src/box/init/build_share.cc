#include "box/init/build_share.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/unique_fd.h"
#include "box/init/build_maps.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {
namespace {

void halve(const char* of_namespace, const char* of_machine) {
  UniqueFd machine(::open(of_machine, O_RDONLY | O_CLOEXEC));
  char text[32] = {};
  if (!machine || ::read(machine.get(), text, sizeof text - 1) <= 0) return;
  const unsigned long all = ::strtoul(text, nullptr, 10);
  UniqueFd file(::open(of_namespace, O_WRONLY | O_CLOEXEC));
  const std::string half = std::to_string(std::max(1ul, all / 2));
  if (all != 0 && file && ::write(file.get(), half.data(), half.size()) < 0) return;
}

// Those of the user namespace that we are in; the next one remembers the limit of signals when it is made.
void halve_counters() {
  halve("/proc/sys/user/max_inotify_instances", "/proc/sys/fs/inotify/max_user_instances");
  halve("/proc/sys/user/max_inotify_watches", "/proc/sys/fs/inotify/max_user_watches");
  struct rlimit signals{};
  if (::getrlimit(RLIMIT_SIGPENDING, &signals) != 0 || signals.rlim_cur == RLIM_INFINITY) return;
  signals.rlim_cur = signals.rlim_max = std::max<rlim_t>(1, signals.rlim_cur / 2);
  if (::setrlimit(RLIMIT_SIGPENDING, &signals) != 0) return;
}

// The same ids again.
wire::BuildSpec maps_below(const wire::BuildSpec& spec) {
  wire::BuildSpec below;
  below.uids = spec.uids;
  below.gids = spec.gids;
  for (auto* ranges : {&below.uids, &below.gids}) {
    for (wire::IdRange& range : *ranges) range.outside = range.inside;
  }
  return below;
}

struct HalfWay {
  pid_t pid = -1;
  int error = 0;
};

// Half way: returns in the new process only.
void go_on(const wire::BuildSpec& spec, int namespaces, UniqueFd& wait, UniqueFd& told) {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(wait.get(), &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got != 1) ::_exit(1);
  halve_counters();
  HalfWay report;
  report.pid = fork_into(namespaces | CLONE_PARENT);
  if (report.pid == 0) return;
  report.error = errno;
  if (report.pid > 0) {
    const auto mapped = write_maps(maps_below(spec), report.pid);
    report.error = mapped ? 0 : mapped.error().error_number;
  }
  if (::write(told.get(), &report, sizeof report) != sizeof report) ::_exit(1);
  ::_exit(0);
}

}  // namespace

pid_t fork_into(int namespaces) {
  return static_cast<pid_t>(::syscall(SYS_clone, namespaces | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

Op<pid_t> fork_with_half(const wire::BuildSpec& spec, int namespaces) {
  int way_in[2], way_out[2];
  if (::pipe2(way_in, O_CLOEXEC) != 0) return failed("make a pipe");
  UniqueFd wait(way_in[0]), open(way_in[1]);
  if (::pipe2(way_out, O_CLOEXEC) != 0) return failed("make a pipe");
  UniqueFd hear(way_out[0]), told(way_out[1]);
  const pid_t half_way = fork_into(CLONE_NEWUSER);
  if (half_way < 0) return failed("make a user namespace");
  if (half_way == 0) {
    open.reset();
    hear.reset();
    go_on(spec, namespaces, wait, told);
    return 0;
  }
  told.reset();
  wait.reset();
  auto mapped = write_maps(spec, half_way);
  if (mapped) write_all(open.get(), "g");
  open.reset();
  HalfWay report;
  const bool reported = ::read(hear.get(), &report, sizeof report) == sizeof report;
  while (::waitpid(half_way, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!mapped) return std::unexpected(mapped.error());
  if (reported && report.pid > 0 && report.error == 0) return report.pid;
  if (reported && report.pid > 0) {
    ::kill(report.pid, SIGKILL);
    while (::waitpid(report.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  errno = reported ? report.error : EPIPE;
  return failed("make namespaces");
}

}  // namespace mcpbox::box::init
