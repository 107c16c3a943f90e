#include "box/init/build.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "box/init/build_maps.h"
#include "box/init/build_root.h"
#include "box/init/build_share.h"
#include "box/init/build_sweep.h"
#include "box/init/listen.h"
#include "box/init/roots.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxGroups = 1 << 20;
constexpr int kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

Op<wire::BuildSpec> read_spec() {
  std::string bytes;
  char buffer[16384];
  while (true) {
    const ssize_t got = ::read(kBuildSpecFd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read the specification");
    if (got == 0) break;
    bytes.append(buffer, static_cast<std::size_t>(got));
    if (bytes.size() > wire::kMaxBuildSpec)
      return refuse(Code::kInvalidArgument, "read the specification", "is too long");
  }
  auto spec = wire::decode<wire::BuildSpec>(bytes);
  if (!spec || spec->version != wire::kBuildVersion) {
    return refuse(Code::kInvalidArgument, "read the specification", "mcpbox and mcpbox-init are of different builds");
  }
  return std::move(*spec);
}

void answer(const Op<void>& outcome) {
  wire::BuildReply reply;
  reply.made = outcome.has_value();
  if (!outcome) reply.error = outcome.error();
  wire::Encoder encoder;
  encoder(reply);
  ::signal(SIGPIPE, SIG_IGN);
  write_all(kBuildReplyFd, encoder.take());
  ::close(kBuildReplyFd);
}

Op<void> write_whole(const std::string& path, std::string_view content) {
  const std::string fresh = path + ".new";
  UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return failed("write '" + path + "'");
  if (::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return failed("write '" + path + "'");
  if (const int error = file.close()) return failed("write '" + path + "'", error);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("write '" + path + "'");
  return {};
}

std::string read_whole(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  const ssize_t got = file ? ::read(file.get(), buffer, sizeof buffer) : -1;
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

// Counted from the end of the name, which may hold anything.
std::string start_time(pid_t pid) {
  const std::string text = read_whole("/proc/" + std::to_string(pid) + "/stat");
  std::size_t at = text.rfind(')');
  for (int field = 2; at != std::string::npos && field < 22; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return "0";
  return text.substr(at + 1, text.find(' ', at + 1) - at - 1);
}

Op<void> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 || ::chmod(path.c_str(), mode) != 0) return failed("make '" + path + "'");
  return {};
}

Op<void> make_directories(const wire::BuildSpec& spec) {
  if (auto made = make_directory(spec.directory, 0700); !made) return made;
  if (auto made = write_whole(spec.directory + "/record", spec.record); !made) return made;
  for (const char* name : {"/root", "/scratch"}) {
    if (auto made = make_directory(spec.directory + name, 0700); !made) return made;
  }
  for (const std::string& name : spec.scratch) {
    if (auto made = make_directory(spec.directory + "/scratch/" + name, 0711); !made) return made;
  }
  return {};
}

Op<void> make_cgroup(const std::string& path, const std::vector<std::string>& settings) {
  if (::mkdir(path.c_str(), 0755) != 0) return failed("make the control group '" + path + "'");
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    UniqueFd file(::open((path + "/" + setting.substr(0, equals)).c_str(), O_WRONLY | O_CLOEXEC));
    const std::string value = setting.substr(equals + 1);
    if (!file || ::write(file.get(), value.data(), value.size()) < 0)
      return failed("set " + setting + " of '" + path + "'");
  }
  return {};
}

Op<void> make_cgroups(const wire::BuildSpec& spec) {
  for (const wire::BuildCgroup& group : spec.cgroups) {
    auto made = make_cgroup(group.directory, group.settings);
    if (made && !group.idle.empty()) made = make_cgroup(group.idle, group.settings);
    if (!made) return made;
  }
  return {};
}

Op<void> enter_cgroups(const wire::BuildSpec& spec, pid_t pid) {
  const std::string text = std::to_string(pid);
  for (const wire::BuildCgroup& group : spec.cgroups) {
    UniqueFd file(::open((group.directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!file || ::write(file.get(), text.data(), text.size()) < 0)
      return failed("enter the control group '" + group.directory + "'");
  }
  return {};
}

std::uint64_t memory_kills(const wire::BuildSpec& spec) {
  for (const wire::BuildCgroup& group : spec.cgroups) {
    if (group.kills.empty()) continue;
    const std::string text = read_whole(group.directory + "/" + group.kills);
    const std::size_t at = text.find("oom_kill ");
    if (at != std::string::npos) return ::strtoull(text.c_str() + at + 9, nullptr, 10);
  }
  return 0;
}

// The kernel takes a moment to let go of the last process.
void remove_cgroup(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int attempt = 0; directory && attempt < 200; ++attempt) {
    for (const std::string& name : names_in(directory.get(), kMaxGroups).value_or(std::vector<std::string>()))
      ::unlinkat(directory.get(), name.c_str(), AT_REMOVEDIR);  // of a server; files cannot be removed there
    if (::rmdir(path.c_str()) == 0 || errno != EBUSY) break;
    ::usleep(5000);
  }
}

void remove_cgroups(const wire::BuildSpec& spec) {
  for (const wire::BuildCgroup& group : spec.cgroups) {
    remove_cgroup(group.directory);
    if (!group.idle.empty()) remove_cgroup(group.idle);
  }
}

// The calling process again, with the effective user id `uid` and what it may.
bool act_as(uid_t uid) {
  if (::setresuid(static_cast<uid_t>(-1), uid, static_cast<uid_t>(-1)) != 0) return false;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  for (auto& each : data) each.effective = each.permitted;
  return ::syscall(SYS_capset, &header, data) == 0;
}

// PID 1 of the sandbox to be, with its ids: as fork(2). Root has another user own its namespaces, where there is such a
// user (we may be in a user namespace ourselves); an ordinary user pays for them, and keeps half.
Op<pid_t> fork_first(const wire::BuildSpec& spec) {
  if (spec.payer == 0) return fork_with_half(spec, kNamespaces);
  const bool other = act_as(spec.payer);
  const pid_t pid = fork_into(kNamespaces);
  const int error = errno;
  if (pid != 0 && other && !act_as(0)) ::_exit(1);
  if (pid < 0) return failed("make namespaces", error);
  if (pid == 0) return pid;
  if (auto mapped = write_maps(spec, pid); !mapped) {
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return std::unexpected(mapped.error());
  }
  return pid;
}

struct Gate {
  UniqueFd wait, open;
};
Op<Gate> make_gate() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe");
  return Gate{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool pass(Gate& gate) {
  gate.open.reset();
  char byte = 0;
  while (true) {
    const ssize_t got = ::read(gate.wait.get(), &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    return got == 1;
  }
}

// Removes trees in a user namespace with the sandbox's ids, where whoever owns what is in them is known.
Op<void> sweep_as_root(const wire::BuildSpec& spec, const std::vector<std::string>& trees) {
  auto gate = make_gate();
  auto result = make_gate();
  if (!gate || !result) return failed("make a pipe");
  const pid_t child = fork_into(CLONE_NEWUSER);
  if (child < 0) return failed("make a user namespace");
  if (child == 0) {
    result->wait.reset();
    if (!pass(*gate)) ::_exit(1);
    Op<std::string> outcome = std::string();
    for (const std::string& tree : trees) {
      if (auto swept = sweep_tree(tree); !swept && outcome) outcome = std::unexpected(swept.error());
    }
    write_all(result->open.get(), pack_answer(outcome));
    ::_exit(0);
  }
  result->open.reset();
  auto mapped = write_maps(spec, child);
  if (mapped) write_all(gate->open.get(), "g");
  gate->open.reset();
  std::string bytes;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(result->wait.get(), buffer, sizeof buffer)) > 0;)
    bytes.append(buffer, static_cast<std::size_t>(got));
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!mapped) return mapped;
  auto outcome = unpack_answer(bytes);
  if (!outcome) return std::unexpected(outcome.error());
  return {};
}

void clean_up(const wire::BuildSpec& spec, bool whole) {
  remove_cgroups(spec);
  (void)sweep_as_root(spec, {spec.directory + "/scratch"});
  ::rmdir((spec.directory + "/root").c_str());
  if (whole) (void)sweep_tree(spec.directory);
}

struct Built {
  pid_t pid = -1;
  bool child = false;
};

Options supervisor_options(const wire::BuildSpec& spec) {
  std::vector<const char*> argv;
  for (const std::string& word : spec.argv) argv.push_back(word.c_str());
  auto options = parse_options(static_cast<int>(argv.size()), argv.data());
  if (!options) ::_exit(2);
  options->die_with_parent = true;
  return std::move(*options);
}

// Makes the control socket, and takes its folder and the one of the egress proxy's socket out of the sandbox: nothing
// in there has to reach them, or may.
Op<void> open_ways_out(Options& options) {
  std::string problem;
  UniqueFd listener = listen_on(options.control, options.one_id ? 0 : options.owner, problem);
  if (!listener) return failed(problem);
  if (::umount2(options.control.substr(0, options.control.rfind('/')).c_str(), MNT_DETACH) != 0)
    return failed("hide the control socket");
  options.listener = listener.release();
  if (options.egress_port == 0) return {};
  const std::string folder = options.egress_socket.substr(0, options.egress_socket.rfind('/'));
  UniqueFd egress(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!egress || ::umount2(folder.c_str(), MNT_DETACH) != 0) return failed("hide the egress proxy's socket");
  options.egress_directory = egress.release();
  return {};
}

// In the child: has built everything, or reported why not and ended.
void become_first(const wire::BuildSpec& spec, Options& options, Gate& gate, Gate& ready) {
  ready.wait.reset();
  if (!pass(gate)) ::_exit(1);
  // Whoever owns the namespaces owns no files: sources are opened as root.
  if (spec.payer != 0 && ::setresuid(0, 0, 0) != 0) ::_exit(1);
  options = supervisor_options(spec);
  auto groups = ServerGroups::open(spec.cgroups);
  Op<void> built;
  if (groups) {
    built = build_root(spec);
    if (built) built = open_ways_out(options);
    if (built) built = settle_in(spec);
    if (built) built = groups->settle();
    if (built) options.groups = std::move(*groups);
  } else {
    built = std::unexpected(groups.error());
  }
  write_all(ready.open.get(),
            pack_answer(built ? Op<std::string>(std::string()) : Op<std::string>(std::unexpected(built.error()))));
  if (!built) ::_exit(1);
}

Op<Built> start_first(const wire::BuildSpec& spec, Options& options) {
  auto gate = make_gate();
  auto ready = make_gate();
  if (!gate || !ready) return failed("make a pipe");
  Built built;
  auto first = fork_first(spec);
  if (!first) return std::unexpected(first.error());
  built.pid = *first;
  if (built.pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    become_first(spec, options, *gate, *ready);
    built.child = true;
    return built;
  }
  ready->open.reset();
  Op<void> going = enter_cgroups(spec, built.pid);
  if (going) write_all(gate->open.get(), "g");
  gate->open.reset();
  std::string bytes;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ready->wait.get(), buffer, sizeof buffer)) > 0;)
    bytes.append(buffer, static_cast<std::size_t>(got));
  if (going) {
    auto outcome = bytes.empty() ? Op<std::string>(refuse(Code::kInternal, "build the sandbox", "PID 1 ended at once"))
                                 : unpack_answer(bytes);
    if (!outcome) going = std::unexpected(outcome.error());
  }
  if (going) {
    going = write_whole(spec.directory + "/pid", std::to_string(::getpid()) + " " + start_time(::getpid()) + " " +
                                                     std::to_string(built.pid) + " " + start_time(built.pid) + "\n");
  }
  if (going) return built;
  ::kill(built.pid, SIGKILL);
  while (::waitpid(built.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unexpected(going.error());
}

[[noreturn]] void keep(const wire::BuildSpec& spec, pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  const std::string text =
      std::to_string(code) + " " + std::to_string(signal) + " " + std::to_string(memory_kills(spec)) + "\n";
  clean_up(spec, spec.remove_on_exit);
  if (!spec.remove_on_exit) (void)write_whole(spec.directory + "/exit", text);
  ::_exit(0);
}

}  // namespace

int build_sandbox(Options& supervisor) {
  auto spec = read_spec();
  if (!spec) {
    answer(std::unexpected(spec.error()));
    return 2;
  }
  if (spec->argv.empty()) {
    answer(sweep_as_root(*spec, spec->sweep));
    return 0;
  }
  // The keeper is nobody's child, so that no controller has to wait for it.
  const pid_t keeper = ::fork();
  if (keeper < 0) {
    answer(failed("start the keeper"));
    return 1;
  }
  if (keeper > 0) return 0;
  ::close(kBuildSpecFd);
  ::fcntl(kBuildReplyFd, F_SETFD, FD_CLOEXEC);
  const bool closed = ::syscall(SYS_close_range, static_cast<unsigned>(kBuildReplyFd + 1), ~0u, 0u) == 0;
  ::umask(077);
  if (!closed || ::chdir("/") != 0) {
    answer(failed("leave what was inherited behind"));
    ::_exit(1);
  }
  auto prepared = make_directories(*spec);
  if (!prepared) {
    const bool exists = prepared.error().error_number == EEXIST;
    if (!exists) clean_up(*spec, true);
    answer(prepared);
    ::_exit(1);
  }
  prepared = make_cgroups(*spec);
  if (!prepared) {
    clean_up(*spec, true);
    answer(prepared);
    ::_exit(1);
  }
  auto built = start_first(*spec, supervisor);
  if (!built) {
    clean_up(*spec, true);
    answer(std::unexpected(built.error()));
    ::_exit(1);
  }
  if (built->child) return 0;
  answer({});
  keep(*spec, built->pid);
}

}  // namespace mcpbox::box::init
