#include "box/init/priority.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "box/init/one_id.h"

namespace mcpbox::box::init {
namespace {

constexpr int kOwnNice = -20, kFirst = -15, kLast = 19;

bool g_raised = false;
int g_usual = 0;  // of PID 1, and of its children

bool place(uid_t uid, int nice) {
  if (!g_raised || uid == 0) return false;
  if (::setpriority(PRIO_USER, uid, nice) == 0) return true;
  static bool said = false;
  if (errno != ESRCH && !said) {
    said = true;
    ::dprintf(2, "mcpbox-init: the priority of uid %u cannot be set to %d (errno %d)\n", uid, nice, errno);
  }
  return false;
}

void schedule(pid_t thread, int policy) {
  const struct sched_param none{};
  (void)::sched_setscheduler(thread, policy, &none);
}

void schedule_each(int proc, const std::vector<Threads>& processes, int policy) {
  for (const Threads& process : processes) {
    if (process.count <= 1) {
      schedule(process.pid, policy);
      continue;
    }
    char name[32];
    ::snprintf(name, sizeof name, "%d/task", process.pid);
    const int fd = ::openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* threads = fd >= 0 ? ::fdopendir(fd) : nullptr;
    if (threads == nullptr) {
      if (fd >= 0) ::close(fd);
      continue;
    }
    while (const dirent* entry = ::readdir(threads)) {
      if (entry->d_name[0] != '.') schedule(::atoi(entry->d_name), policy);
    }
    ::closedir(threads);
  }
}

}  // namespace

void take_priority() {
  // With one id all are the same user.
  if (one_id()) return;
  // What only a limit of ours allows would be none of those who have limits of their own.
  const struct rlimit none{};
  if (::setrlimit(RLIMIT_NICE, &none) != 0) return;
  g_usual = ::getpriority(PRIO_PROCESS, 0);
  g_raised = ::setpriority(PRIO_PROCESS, 0, kOwnNice) == 0;
}

bool give_up_priority(For whom) {
  if (!g_raised) return false;
  g_raised = false;
  (void)::setpriority(PRIO_PROCESS, 0, whom == For::kAll ? kFirst : g_usual);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct held[2] = {};
  if (::syscall(SYS_capget, &header, held) != 0) return true;
  held[0].effective &= ~(1u << CAP_SYS_NICE);
  held[0].permitted &= ~(1u << CAP_SYS_NICE);
  held[0].inheritable &= ~(1u << CAP_SYS_NICE);
  (void)::syscall(SYS_capset, &header, held);
  return true;
}

bool place_behind(uid_t uid, int proc, const std::vector<Threads>& processes) {
  if (!place(uid, kLast)) return false;
  schedule_each(proc, processes, SCHED_IDLE);
  return true;
}

bool place_before(uid_t uid) {
  return place(uid, kFirst);
}

bool place_back(uid_t uid, int nice, int proc, const std::vector<Threads>& processes) {
  if (!place(uid, std::max(nice, g_usual))) return false;
  schedule_each(proc, processes, SCHED_OTHER);
  return true;
}

}  // namespace mcpbox::box::init
