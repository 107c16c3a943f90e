#include "sys/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {
namespace {

struct Actions {
  Actions() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~Actions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

// `given` are out of the way: above every number that the program gets.
void describe_files(Actions& actions, const std::vector<GivenDescriptor>& given, int first_free) {
  for (int number = 0; number < first_free; ++number) {
    const auto entry = std::ranges::find_if(given, [&](const GivenDescriptor& one) { return one.theirs == number; });
    if (entry != given.end()) {
      ::posix_spawn_file_actions_adddup2(&actions.files, entry->ours, number);
    } else if (number < 3) {
      ::posix_spawn_file_actions_addopen(&actions.files, number, "/dev/null", O_RDWR, 0);
    } else {
      ::posix_spawn_file_actions_addclose(&actions.files, number);
    }
  }
  ::posix_spawn_file_actions_addclosefrom_np(&actions.files, first_free);
}

void describe_process(Actions& actions, bool session) {
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&actions.attributes, &none);
  ::posix_spawnattr_setsigdefault(&actions.attributes, &all);  // above all SIGPIPE, which we ignore
  ::posix_spawnattr_setpgroup(&actions.attributes, 0);
  const int group = session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP;
  ::posix_spawnattr_setflags(&actions.attributes,
                             static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group));
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

Child::Child(Child&& other) noexcept
    : pid_(other.pid_),
      pidfd_(std::move(other.pidfd_)),
      reaped_(std::exchange(other.reaped_, true)),
      exit_(other.exit_) {}

Child::~Child() {
  if (reaped_) return;
  kill_group();
  wait(true);  // SIGKILL makes that prompt
}

void Child::kill_group() const {
  if (!reaped_) ::kill(-pid_, SIGKILL);
}

bool Child::wait(bool blocking) {
  siginfo_t info{};
  int result = 0;
  // Not reaped yet, so the number is the program's own.
  while ((result = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | (blocking ? 0 : WNOHANG))) != 0 &&
         errno == EINTR) {
  }
  if (result == 0 && info.si_pid == 0) return false;
  reaped_ = true;
  if (result == 0 && info.si_code == CLD_EXITED) exit_.code = info.si_status;
  if (result == 0 && info.si_code != CLD_EXITED) exit_.signal = info.si_status;
  return true;
}

Result<Child> spawn(const SpawnOptions& options) {
  const std::string what = "start " + printable(options.program, 300);
  int first_free = 3;
  for (const GivenDescriptor& one : options.descriptors) first_free = std::max(first_free, one.theirs + 1);
  // A dup onto itself would keep close-on-exec, and one onto another's source would overwrite that.
  std::vector<UniqueFd> moved;
  std::vector<GivenDescriptor> given;
  for (const GivenDescriptor& one : options.descriptors) {
    moved.emplace_back(::fcntl(one.ours, F_DUPFD_CLOEXEC, first_free));
    if (!moved.back()) return fail(errno_error(errno, what));
    given.push_back({moved.back().get(), one.theirs});
  }
  Actions actions;
  describe_files(actions, given, first_free);
  describe_process(actions, options.session);
  std::vector<std::string> argv = options.argv, env = options.env;
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, options.program.c_str(), &actions.files, &actions.attributes,
                                  pointers(argv).data(), pointers(env).data());
  if (error != 0) return fail(errno_error(error, what));
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int watched = pidfd ? 0 : errno;
  Child child(pid, std::move(pidfd));
  if (watched != 0) return fail(errno_error(watched, what + ": watch it"));
  return child;
}

}  // namespace mcpbox::sys
