#include "box/init/sandbox_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/landlock.h"
#include "box/init/one_id.h"
#include "box/init/process_room.h"
#include "box/init/seccomp_filter.h"
#include "box/init/spaces.h"
#include "box/init/ways_in.h"

namespace mcpbox::box::init {
namespace {

constexpr int kReport = 3;

// Python and Go ignore SIGPIPE by themselves; what is ignored or blocked here would be inherited through exec.
void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Only root of the whole machine could raise a hard limit, so what the sandbox gives is the ceiling.
int limit(decltype(RLIMIT_CORE) what, const std::optional<std::uint64_t>& value) {
  if (!value) return 0;
  struct rlimit now{};
  if (::getrlimit(what, &now) != 0) return errno;
  const rlim_t wanted = now.rlim_max == RLIM_INFINITY ? *value : std::min<rlim_t>(*value, now.rlim_max);
  const struct rlimit next{wanted, wanted};
  return ::setrlimit(what, &next) == 0 ? 0 : errno;
}

// Queued signals and timers are counted for whoever runs the engine, too, who has to keep most of them.
int limit_pending_signals() {
  struct rlimit now{};
  if (::getrlimit(RLIMIT_SIGPENDING, &now) != 0) return errno;
  return limit(RLIMIT_SIGPENDING,
               std::min<std::uint64_t>(4096, now.rlim_max == RLIM_INFINITY ? 4096 : now.rlim_max / 8));
}

// `others`: processes of ours that count as the user's. `counted`: PID 1 ends who has more processes than that.
int apply_limits(const wire::Limits& limits, std::uint64_t others, std::uint64_t counted) {
  std::optional<std::uint64_t> processes = limits.processes;
  if (processes) *processes = others + (*processes == counted ? with_room(*processes) : *processes);
  if (int e = limit(RLIMIT_NPROC, processes)) return e;
  if (int e = limit_pending_signals()) return e;
  // Nobody gets before others by himself, whatever an engine's defaults are.
  if (int e = limit(RLIMIT_NICE, 0)) return e;
  if (int e = limit(RLIMIT_RTPRIO, 0)) return e;
  if (int e = limit(RLIMIT_NOFILE, limits.open_files)) return e;
  if (int e = limit(RLIMIT_FSIZE, limits.file_bytes)) return e;
  if (int e = limit(RLIMIT_CORE, limits.core_bytes)) return e;
  return limit(RLIMIT_DATA, limits.data_bytes);
}

// Best effort: without it the kernel only chooses its OOM victim less well.
void set_oom_score(int score) {
  UniqueFd fd(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(score);
  if (fd && ::write(fd.get(), text.data(), text.size()) < 0) return;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& string : strings) out.push_back(const_cast<char*>(string.c_str()));
  out.push_back(nullptr);
  return out;
}

// execvpe(3) without its last resort: a file that the kernel cannot run is never handed to a shell.
int run(const wire::Spawn& spec) {
  const std::vector<char*> argv = pointers(spec.argv);
  const std::vector<char*> env = pointers(spec.env);
  const std::string& name = spec.argv.front();
  if (name.find('/') != std::string::npos) {
    ::execve(name.c_str(), argv.data(), env.data());
    return errno;
  }
  std::string_view path;
  for (const std::string& entry : spec.env) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  int result = ENOENT;
  while (!path.empty()) {
    const std::size_t colon = path.find(':');
    const std::string_view folder = path.substr(0, colon);
    path.remove_prefix(colon == std::string_view::npos ? path.size() : colon + 1);
    if (folder.empty()) continue;  // the working directory is a stranger's
    const std::string candidate = std::string(folder) + "/" + name;
    ::execve(candidate.c_str(), argv.data(), env.data());
    if (errno == EACCES || errno == EPERM) {
      result = errno;  // something of that name is there; a later one may be runnable
    } else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG) {
      return errno;
    }
  }
  return result;
}

}  // namespace

int drop_bounding_set(std::string& step) {
  step = "drop the capability bounding set";
  for (int capability = 0;; ++capability) {
    const int held = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held < 0) break;  // beyond the kernel's last one
    if (held == 1 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return errno;
  }
  step = "drop ambient capabilities";
  return ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 ? 0 : errno;
}

int drop_identity(uid_t uid, gid_t gid, std::string& step) {
  step = "switch to uid " + std::to_string(uid);
  // With one id there is no other to switch to.
  if (!one_id()) {
    if (::setgroups(0, nullptr) != 0) return errno;
    if (::setresgid(gid, gid, gid) != 0) return errno;
    if (::setresuid(uid, uid, uid) != 0) return errno;
  }
  // What was copied from PID 1 stays unreadable for processes of the uid, whatever fs.suid_dumpable says; exec resets
  // it.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno;
  return drop_capabilities(step);
}

int drop_capabilities(std::string& step) {
  step = "drop capabilities";
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return ::syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

namespace {

// Its user, in namespaces of its own; of PID 1's capabilities nothing is left.
int become_user_alone(const wire::Spawn& spec, const StartWay& way, std::string& step) {
  if (int error = drop_identity(spec.uid, spec.gid, step)) return error;
  if (int error = enter_spaces(way.spaces, ::geteuid(), ::getegid(), kReport, step)) return error;
  if (int error = furnish_spaces(way.spaces, spec, kReport, step)) return error;
  const auto& ports = spec.confine.connect_ports;
  const bool out = way.egress_port != 0 && std::ranges::find(ports, way.egress_port) != ports.end();
  return connect_spaces(out ? way.egress_port : 0, kReport, step);
}

}  // namespace

int become_process(const wire::Spawn& spec, const StartWay& way, std::string& step) {
  reset_signals();
  step = "close inherited descriptors";
  if (::syscall(SYS_close_range, static_cast<unsigned>(kReport + 1), ~0u, 0u) != 0) return errno;
  set_oom_score(spec.oom_score_adj);
  // Before its capabilities go: those of the new namespace go with them.
  if (one_id()) {
    if (int error = enter_own_namespace(spec.uid, spec.gid, step)) return error;
  }
  const bool apart = way.spaces != Spaces::kNone;
  if (apart) {
    if (int error = become_user_alone(spec, way, step)) return error;
  }
  step = "start a session";
  if (::setsid() < 0) return errno;
  ::umask(static_cast<mode_t>(spec.umask));
  step = "set resource limits";
  if (int error = apply_limits(spec.limits, way.spaces == Spaces::kAll ? 1 : 0, spec.server.processes)) return error;
  step = "set the priority";
  // Who was started with a lower priority cannot raise it, and would have failed for it.
  if (spec.nice > ::getpriority(PRIO_PROCESS, 0) && ::setpriority(PRIO_PROCESS, 0, spec.nice) != 0) return errno;
  if (int error = drop_bounding_set(step)) return error;
  if (int error = apart ? drop_capabilities(step) : drop_identity(spec.uid, spec.gid, step)) return error;
  // After the switch of identity, so that a directory that the process may not enter is an error and not a gift.
  step = "enter '" + spec.cwd + "'";
  if (::chdir(spec.cwd.c_str()) != 0) return errno;
  step = "set no_new_privs";
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (int error = make_ways_in(spec.ways_in, kReport, step)) return error;
  LandlockRules rules;
  rules.read_write = spec.confine.read_write;
  rules.read_only = spec.confine.read_only;
  rules.connect_ports = spec.confine.connect_ports;
  rules.bind_ports = spec.confine.bind_ports;
  // Nobody else can see what somebody makes who has the sandbox, or namespaces, to himself.
  const bool alone = apart || spec.alone;
  rules.own_spaces = alone;
  if (int error = apply_landlock(rules, step)) return error;
  step = "install the seccomp filter";
  const auto filter = build_seccomp_filter(alone ? Network::kOwn : Network::kShared,
                                           way.counted ? MemoryFiles::kCounted : MemoryFiles::kNotCounted);
  if (int error = install_seccomp_filter(filter)) return error;
  step = "exec '" + spec.argv.front() + "'";
  return run(spec);
}

}  // namespace mcpbox::box::init
