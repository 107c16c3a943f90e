#include "app/compose/daemon_lock.h"

#include <fmt/format.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"
#include "sys/small_file.h"

namespace mcpbox::app {
namespace {

constexpr std::chrono::milliseconds kPause{50};

}  // namespace

Result<DaemonLock> DaemonLock::take(const Paths& paths, std::chrono::milliseconds patience) {
  const std::string path = paths.state_dir + "/daemon.lock";
  const std::string note = paths.state_dir + "/daemon.socket";
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto lock = sys::FileLock::take(path, sys::LockMode::kExclusive, sys::LockWait::kNo);
    if (lock) {
      lock->sign();
      if (auto noted = sys::replace_file(note, paths.socket + "\n"); !noted) return fail(std::move(noted).error());
      return DaemonLock(std::move(*lock));
    }
    if (lock.error() != EWOULDBLOCK) return fail(errno_error(lock.error(), path));
    if (std::chrono::steady_clock::now() >= until) break;
    std::this_thread::sleep_for(kPause);
  }
  const pid_t holder = sys::holder_of(path);
  const std::string socket(trim(sys::read_file(note).value_or("")));
  return fail(Code::kAlreadyExists,
              fmt::format("process {} serves with the state directory {} already{}; stop it with `mcpbox down{}`, or "
                          "give this one another (daemon.state_dir, MCPBOX_STATE_DIR)",
                          holder, printable(paths.state_dir),
                          socket.empty() ? "" : fmt::format(", on the socket {}", printable(socket)),
                          socket.empty() ? "" : fmt::format(" --socket {}", printable(socket))));
}

}  // namespace mcpbox::app
