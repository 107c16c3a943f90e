#include "box/init/uid_killer.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>

#include "base/unique_fd.h"
#include "box/init/one_id.h"
#include "box/init/sandbox_child.h"

namespace mcpbox::box::init {
namespace {

// True when /proc/PID/status names the uid in its "Uid:" line (real, effective, saved, file system).
bool has_uid(pid_t pid, uid_t uid) {
  if (one_id()) return is_user_there(pid, uid);
  const std::string path = "/proc/" + std::to_string(pid) + "/status";
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  char buffer[4096];
  const ssize_t got = ::read(fd.get(), buffer, sizeof buffer - 1);
  if (got <= 0) return false;
  buffer[got] = '\0';
  // The name, which the process chooses, comes first; the kernel escapes line feeds in it (proc(5)).
  const char* line = ::strstr(buffer, "\nUid:\t");
  if (line == nullptr) return false;
  unsigned real = 0, effective = 0, saved = 0;
  if (::sscanf(line + 6, "%u %u %u", &real, &effective, &saved) != 3) return false;
  return real == uid || effective == uid || saved == uid;
}

void each_pid(const std::function<void(pid_t)>& visit) {
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return;
  const pid_t self = ::getpid();
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t pid = static_cast<pid_t>(::atoi(entry->d_name));
    if (pid > 1 && pid != self) visit(pid);
  }
  ::closedir(proc);
}

}  // namespace

unsigned count_of_uid(uid_t uid) {
  unsigned count = 0;
  each_pid([&](pid_t pid) { count += has_uid(pid, uid) ? 1 : 0; });
  return count;
}

Op<pid_t> signal_uid(uid_t uid, int signal_number) {
  if (uid == 0) return refuse(Code::kInvalidArgument, "signal a uid", "must not be 0");
  const pid_t child = ::fork();
  if (child == 0) {
    std::string step;
    if (drop_identity(uid, static_cast<gid_t>(uid), step) != 0) ::_exit(1);
    ::kill(-1, signal_number);
    ::_exit(0);
  }
  if (child > 0) return child;
  if (errno != EAGAIN && errno != ENOMEM) return failed("fork");
  each_pid([&](pid_t pid) {
    // The descriptor first, the check then: a number that was given away meanwhile cannot be hit.
    UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (handle && has_uid(pid, uid)) ::syscall(SYS_pidfd_send_signal, handle.get(), signal_number, nullptr, 0);
  });
  return 0;
}

}  // namespace mcpbox::box::init
