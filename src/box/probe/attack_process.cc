// Part of probe.h: what one process does to another through /proc and the calls that name a process.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

// The first candidate on which `one` hits; else what kept it from the last.
Outcome on_each(const Target& target, const std::function<Outcome(pid_t)>& one) {
  Outcome outcome = blocked("no process of the victim is to be seen");
  for (const pid_t pid : candidates(target)) {
    errno = 0;
    outcome = one(pid);
    if (outcome.verdict == Outcome::Verdict::kHit) break;
  }
  return outcome;
}

std::string in_proc(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

Outcome see_arguments(const Target& target) {
  return on_each(target, [&](pid_t pid) {
    const std::string text = read_all(in_proc(pid, "cmdline"), 4096);
    if (text.find(target.token) != std::string::npos) return hit("read them");
    return blocked_by(errno != 0 ? errno : ENOENT);
  });
}

Outcome read_environment(const Target& target) {
  return on_each(target, [&](pid_t pid) {
    const std::string text = read_all(in_proc(pid, "environ"));
    if (text.find(canary(target, "env")) != std::string::npos) return hit("read its secret");
    return blocked_by(errno != 0 ? errno : ENODATA);
  });
}

Outcome attach(const Target& target) {
  return on_each(target, [](pid_t pid) {
    if (::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) != 0) return blocked_by(errno);
    ::waitpid(pid, nullptr, __WALL);
    ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    return hit("attached");
  });
}

// The writable memory, piece by piece, looking for a text that is neither argument nor variable.
Outcome search_memory(const Target& target, pid_t pid,
                      const std::function<ssize_t(char*, size_t, unsigned long)>& read) {
  FILE* const maps = ::fopen(in_proc(pid, "maps").c_str(), "re");
  if (maps == nullptr) return blocked_by(errno);
  Outcome outcome = blocked("not found in what could be read");
  char line[512];
  std::string bytes;
  int failures = 0;
  while (::fgets(line, sizeof line, maps) != nullptr) {
    unsigned long from = 0, to = 0;
    char mode[8] = {};
    if (::sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' || to - from > (64u << 20)) continue;
    bytes.resize(to - from);
    const ssize_t got = read(bytes.data(), bytes.size(), from);
    if (got < 0 && failures++ == 0) outcome = blocked_by(errno);
    if (got > 0 && std::string_view(bytes.data(), static_cast<std::size_t>(got)).find(canary(target, "memory")) !=
                       std::string_view::npos) {
      outcome = hit("read its secret");
      break;
    }
  }
  ::fclose(maps);
  return outcome;
}

Outcome read_memory(const Target& target) {
  return on_each(target, [&](pid_t pid) {
    const int fd = ::open(in_proc(pid, "mem").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return blocked_by(errno);
    return search_memory(target, pid, [fd](char* to, size_t size, unsigned long from) {
      return ::pread(fd, to, size, static_cast<off_t>(from));
    });
  });
}

Outcome read_memory_by_call(const Target& target) {
  return on_each(target, [&](pid_t pid) {
    return search_memory(target, pid, [pid](char* to, size_t size, unsigned long from) {
      const iovec into{to, size};
      const iovec of{reinterpret_cast<void*>(from), size};  // NOLINT(performance-no-int-to-ptr): of another process
      return ::process_vm_readv(pid, &into, 1, &of, 1, 0);
    });
  });
}

// Whoever reads the victim's output finds this line in it.
Outcome forge_answer(const Target& target) {
  const std::string line = "forged " + target.token + "\n";
  return on_each(target, [&](pid_t pid) {
    const int fd = ::open(in_proc(pid, "fd/1").c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return blocked_by(errno);
    if (::write(fd, line.data(), line.size()) < 0) return blocked_by(errno);
    return hit("wrote into its output");
  });
}

Outcome take_descriptor(const Target& target) {
  return on_each(target, [](pid_t pid) {
    const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (process < 0) return blocked_by(errno);
    const long taken = ::syscall(SYS_pidfd_getfd, process, 1, 0);
    return taken >= 0 ? hit("has its output") : blocked_by(errno);
  });
}

Outcome read_through_cwd(const Target& target) {
  const std::string name = target.files.substr(target.files.rfind('/') + 1);
  return on_each(target, [&](pid_t pid) {
    for (const std::string& path :
         {in_proc(pid, "cwd/") + name + "/code", in_proc(pid, "root") + target.files + "/code"}) {
      if (read_all(path) == canary(target, "file")) return hit("read its file");
    }
    return blocked_by(errno != 0 ? errno : ENOENT);
  });
}

Outcome raise_oom_score(const Target& target) {
  return on_each(target, [](pid_t pid) {
    const int fd = ::open(in_proc(pid, "oom_score_adj").c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return blocked_by(errno);
    if (::write(fd, "1000", 4) != 4) return blocked_by(errno);
    return hit("set to 1000");
  });
}

Outcome lower_limits(const Target& target) {
  return on_each(target, [](pid_t pid) {
    rlimit now{};
    if (::prlimit(pid, RLIMIT_NOFILE, nullptr, &now) != 0) return blocked_by(errno);
    const rlimit less{now.rlim_cur - 1, now.rlim_max};
    return ::prlimit(pid, RLIMIT_NOFILE, &less, nullptr) == 0 ? hit("lowered") : blocked_by(errno);
  });
}

Outcome signal_thread(const Target& target) {
  return on_each(target, [](pid_t pid) {
    return ::syscall(SYS_tgkill, pid, pid, SIGUSR1) == 0 ? hit("delivered") : blocked_by(errno);
  });
}

Outcome end_victim(const Target& target) {
  return on_each(target, [](pid_t pid) { return ::kill(pid, SIGKILL) == 0 ? hit("killed") : blocked_by(errno); });
}

// Only whether it may; what PID 1 would do with it is not of interest.
Outcome signal_first(const Target& target) {
  if (target.apart) return blocked("PID 1 of the sandbox has no number here");
  return ::kill(1, 0) == 0 ? hit("may signal it") : blocked_by(errno);
}

}  // namespace

void add_process_attacks(std::vector<Attack>& attacks) {
  attacks.push_back({"A01", see_arguments});
  attacks.push_back({"A02", read_environment});
  attacks.push_back({"A03", attach});
  attacks.push_back({"A04", read_memory});
  attacks.push_back({"A05", forge_answer});
  attacks.push_back({"A06", read_through_cwd});
  attacks.push_back({"A29", raise_oom_score});
  attacks.push_back({"A30", lower_limits});
  attacks.push_back({"B01", read_memory_by_call});
  attacks.push_back({"B02", take_descriptor});
}

void add_signals(std::vector<Attack>& attacks) {
  attacks.push_back({"A32", signal_first});
  attacks.push_back({"B03", signal_thread});
  attacks.push_back({"A31", end_victim});
}

}  // namespace mcpbox::box::probe
