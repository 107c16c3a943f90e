#include "support/init_sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

namespace mcpbox::test {
namespace {

namespace fs = std::filesystem;

void check(bool ok, const char* what) {
  if (ok) return;
  ::dprintf(2, "init_sandbox: %s: %s\n", what, ::strerror(errno));
  ::_exit(121);
}

// Programs are built into a folder of it each: tests/, bench/.
std::string build_directory() {
  const char* value = ::getenv("MCPBOX_BUILD_DIR");
  return value != nullptr ? value : fs::canonical("/proc/self/exe").parent_path().parent_path().string();
}

void bind_at(const std::string& from, const std::string& to, bool read_only) {
  check(::mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0, from.c_str());
  if (read_only)
    check(::mount(nullptr, to.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0, "remount");
}

void bind_file(const std::string& from, const std::string& to) {
  const int fd = ::open(to.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  check(fd >= 0, to.c_str());
  ::close(fd);
  bind_at(from, to, false);
}

// A root file system like an engine's: the host's programs read-only, own /proc, /dev, /workspace, /cache and /.boxrun.
void build_root(const std::string& base, const std::string& build) {
  check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "make mounts private");
  const std::string root = base + "/root";
  check(::mount("tmpfs", root.c_str(), "tmpfs", MS_NOSUID, "mode=0755") == 0, "tmpfs");
  for (const char* name :
       {"proc", "dev", "workspace", "cache", ".boxrun", "tmp", "etc", "usr", "opt", "opt/tests", ".box"}) {
    fs::create_directory(root + "/" + name);
  }
  ::chmod((root + "/tmp").c_str(), 01777);
  bind_at("/usr", root + "/usr", true);
  bind_at("/etc", root + "/etc", true);
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib64", "/lib32"}) {
    if (fs::is_symlink(name)) {
      fs::create_symlink(fs::read_symlink(name), root + name);
    } else if (fs::exists(name)) {
      fs::create_directory(root + name);
      bind_at(name, root + name, true);
    }
  }
  bind_at(build + "/tests", root + "/opt/tests", true);
  bind_file(build + "/bin/mcpbox-init", root + "/.box/mcpbox-init");
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    bind_file(name, root + name);
  fs::create_directory(root + "/dev/pts");
  fs::create_symlink("pts/ptmx", root + "/dev/ptmx");
  fs::create_directory(root + "/dev/shm");
  check(::mount("tmpfs", (root + "/dev/shm").c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0, "/dev/shm");
  bind_at(base + "/workspace", root + "/workspace", false);
  bind_at(base + "/cache", root + "/cache", false);
  bind_at(base + "/run", root + "/.boxrun", false);
  check(::mount("proc", (root + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0, "/proc");
  check(::chdir(root.c_str()) == 0, "chdir");
  check(::syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
  check(::umount2(".", MNT_DETACH) == 0, "umount the old root");
  check(::chdir("/") == 0, "chdir");
}

void bring_up_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  ::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  check(::ioctl(fd, SIOCSIFFLAGS, &request) == 0, "loopback");
  ::close(fd);
}

// What an engine leaves: SETUID, SETGID, KILL, SETPCAP and SYS_NICE in the bounding set, and no_new_privs. Exec as root
// makes them effective.
void reduce_capabilities(bool priorities) {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (capability == CAP_SYS_NICE && priorities) continue;
    if (capability == CAP_SETUID || capability == CAP_SETGID || capability == CAP_KILL || capability == CAP_SETPCAP)
      continue;
    check(::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, "drop a capability");
  }
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
}

}  // namespace

InitSandbox::InitSandbox(std::vector<std::string> extra, bool closed_stdio, bool priorities) {
  if (::geteuid() != 0) throw std::runtime_error("this test makes namespaces and needs root");
  const std::string build = build_directory();
  char pattern[] = "/tmp/mcpbox-init-XXXXXX";
  if (::mkdtemp(pattern) == nullptr) throw std::runtime_error("mkdtemp failed");
  base_ = pattern;
  ::chmod(base_.c_str(), 0711);
  for (const char* name : {"/workspace", "/cache", "/run", "/root"}) fs::create_directory(base_ + name);
  if (::chown((base_ + "/run").c_str(), kOwner, kOwner) != 0) throw std::runtime_error("chown failed");
  ::chmod((base_ + "/run").c_str(), 0700);

  std::vector<std::string> arguments{"/.box/mcpbox-init",
                                     "--control",
                                     "/.boxrun/control.sock",
                                     "--owner",
                                     std::to_string(kOwner),
                                     "--root",
                                     "/workspace",
                                     "--root",
                                     "/cache"};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | SIGCHLD,
                                      nullptr, nullptr, nullptr, nullptr));
  if (pid_ < 0) throw std::runtime_error(std::string("clone: ") + ::strerror(errno));
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    build_root(base_, build);
    bring_up_loopback();
    reduce_capabilities(priorities);
    char* const env[] = {nullptr};
    for (int fd = 0; closed_stdio && fd < 3; ++fd) ::close(fd);
    ::execve(argv[0], argv.data(), env);
    check(false, "exec mcpbox-init");
  }
}

std::optional<int> InitSandbox::wait(int seconds) {
  if (status_) return status_;
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{handle, POLLIN, 0};
  const int ready = ::poll(&ended, 1, seconds * 1000);
  ::close(handle);
  if (ready <= 0) return std::nullopt;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return status_;
}

InitSandbox::~InitSandbox() {
  if (!status_) {
    ::kill(pid_, SIGKILL);
    wait(10);
  }
  std::error_code ignored;
  fs::remove_all(base_, ignored);
}

}  // namespace mcpbox::test
