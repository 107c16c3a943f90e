#include "box/init/spaces.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "box/init/loopback.h"
#include "box/init/one_id.h"
#include "box/init/sandbox_child.h"
#include "box/init/start_report.h"

namespace mcpbox::box::init {
namespace {

constexpr int kSpaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

int write_text(const char* path, const std::string& text) {
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

// What user_namespaces(7) lets everybody do: one's own id, and no other.
int map_ids(uid_t uid, gid_t gid) {
  // The files belong to whoever may read our memory. Processes of the same user are in namespaces of their own, and
  // have no capability in ours.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return errno;
  // With one id the numbers tell users apart (one_id.h).
  const std::string user = std::to_string(one_id() ? uid : kUserInside) + " " + std::to_string(uid) + " 1";
  const std::string group = std::to_string(one_id() ? gid : kUserInside) + " " + std::to_string(gid) + " 1";
  if (int error = write_text("/proc/self/setgroups", "deny")) return error;
  if (int error = write_text("/proc/self/uid_map", user)) return error;
  if (int error = write_text("/proc/self/gid_map", group)) return error;
  return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : errno;
}

struct Forked {
  pid_t pid = -1;
  UniqueFd handle;  // in the parent: a pidfd
};
// fork(2) has no flags; one thread, so nothing that its handlers would have to look after.
Forked fork_with(unsigned long flags) {
  Forked out;
  int handle = -1;
  out.pid = static_cast<pid_t>(::syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, nullptr, &handle, nullptr, 0));
  if (out.pid > 0) out.handle.reset(handle);
  return out;
}

// Children of a process that ignores SIGCHLD leave no zombies. No signal from inside reaches it (pid_namespaces(7)).
[[noreturn]] void be_reaper() {
  ::signal(SIGCHLD, SIG_IGN);
  std::string step;
  if (::syscall(SYS_close_range, 0u, ~0u, 0u) != 0 || ::chdir("/") != 0 || drop_capabilities(step) != 0 ||
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    ::_exit(1);
  }
  ::prctl(PR_SET_NAME, "mcpbox-reaper", 0, 0, 0);
  while (true) ::pause();
}

}  // namespace

int enter_spaces(Spaces spaces, uid_t uid, gid_t gid, int report, std::string& step) {
  step = "make the server's namespaces";
  if (::unshare(kSpaces | (spaces == Spaces::kAll ? CLONE_NEWPID : 0)) != 0) return errno;
  step = "map the server's ids";
  if (int error = map_ids(uid, gid)) return error;
  // Once for all who are made below; what each has until it runs a program, it keeps.
  if (int error = drop_bounding_set(step)) return error;
  if (spaces != Spaces::kAll) return 0;
  step = "fork into the server's namespaces";
  const Forked reaper = fork_with(0);
  if (reaper.pid == 0) be_reaper();
  if (reaper.pid < 0) return errno;
  const Forked server = fork_with(CLONE_PARENT);
  if (server.pid == 0) return 0;
  const int error = errno;
  // PID 1 waits for its end through the process that it is told of. Untold, nobody may go on.
  if (server.pid > 0 && report_process(report, server.pid, server.handle.get(), reaper.handle.get())) ::_exit(0);
  ::syscall(SYS_pidfd_send_signal, reaper.handle.get(), SIGKILL, nullptr, 0);
  return server.pid < 0 ? error : EPIPE;
}

int connect_spaces(std::uint16_t port, int report, std::string& step) {
  if (auto up = bring_loopback_up(); !up) {
    step = up.error().step;
    return up.error().error_number;
  }
  if (port == 0) return 0;
  auto listener = listen_on_loopback(port);
  if (!listener) {
    step = listener.error().step;
    return listener.error().error_number;
  }
  step = "hand over the way out";
  return report_way_out(report, listener->get()) ? 0 : EPIPE;
}

namespace {

[[noreturn]] void try_spaces(Spaces spaces, uid_t uid, int report) {
  std::string step;
  wire::Spawn nobody;
  nobody.uid = nobody.gid = uid;
  int error = drop_identity(uid, uid, step);
  if (error == 0) error = enter_spaces(spaces, uid, uid, report, step);
  if (error == 0) error = furnish_spaces(spaces, nobody, report, step);
  if (error == 0) error = connect_spaces(0, report, step);
  if (error != 0) report_error(report, wire::make_errno_error(error, step));
  ::_exit(0);
}

}  // namespace

bool can_have_spaces(Spaces spaces, uid_t uid) {
  auto report = make_start_report();
  if (!report || ::fcntl(report->read.get(), F_SETFL, 0) != 0) return false;
  const pid_t child = ::fork();
  if (child == 0) try_spaces(spaces, uid, report->write.get());
  if (child < 0) return false;
  report->write.reset();
  bool can = true;
  UniqueFd reaper;
  StartReport packet;
  while (true) {
    pollfd ready{report->read.get(), POLLIN, 0};
    const int waited = ::poll(&ready, 1, 10'000);
    if (waited < 0 && errno == EINTR) continue;
    if (waited <= 0) can = false;
    if (waited <= 0 || receive_report(report->read.get(), packet) != Received::kPacket) break;
    if (packet.kind == StartReport::Kind::kProcess) reaper = std::move(packet.reaper);
    if (packet.kind == StartReport::Kind::kError) {
      ::dprintf(2, "mcpbox-init: no namespaces for each server: %s (errno %d)\n", packet.error.step.c_str(),
                packet.error.error_number);
      can = false;
    }
  }
  if (reaper) ::syscall(SYS_pidfd_send_signal, reaper.get(), SIGKILL, nullptr, 0);
  return can;
}

}  // namespace mcpbox::box::init
