// One attack on a neighbour (docs/security.md, "What was measured"): prints "HIT" when it works, otherwise "blocked"
// and errno.
//
// usage: attack NAME [PID | PATH | PORT]
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace {

bool can_open(const std::string& path, int flags) {
  return ::open(path.c_str(), flags, 0600) >= 0;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<unsigned short>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool connect_tcp(int protocol, int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, protocol);
  const sockaddr_in to = loopback(port);
  return fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

bool fast_open(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in to = loopback(port);
  return fd >= 0 && ::sendto(fd, "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&to), sizeof to) >= 0;
}

bool abstract_unix(const char* name) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  ::strcpy(to.sun_path + 1, name);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + ::strlen(name));
  return fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&to), size) == 0;
}

bool control_socket() {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  ::strcpy(to.sun_path, "/.boxrun/control.sock");
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return false;
  // Connected; is it also listened to? A hello gets an answer, a refused peer gets the end.
  const char hello[] = "\x14\0\0\0\1\1\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0";
  if (::send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL) < 0) return false;
  pollfd ready{fd, POLLIN, 0};
  char byte = 0;
  errno = EACCES;
  return ::poll(&ready, 1, 5000) == 1 && ::recv(fd, &byte, 1, 0) == 1;
}

bool read_memory(pid_t pid) {
  char buffer[8];
  iovec local{buffer, sizeof buffer};
  iovec remote{reinterpret_cast<void*>(0x400000), sizeof buffer};
  return ::process_vm_readv(pid, &local, 1, &remote, 1, 0) > 0;
}

bool steal_descriptor(pid_t pid) {
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return handle >= 0 && ::syscall(SYS_pidfd_getfd, handle, 0, 0) >= 0;
}

bool ring() {
  io_uring_params parameters{};
  return ::syscall(SYS_io_uring_setup, 4, &parameters) >= 0;
}

bool limit_of(pid_t pid) {
  rlimit limit{10, 10};
  return ::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0;
}

bool run(const std::string& name, const char* argument) {
  const pid_t pid = ::atoi(argument);
  const std::string proc = std::string("/proc/") + argument;
  if (name == "environ") {
    const int fd = ::open((proc + "/environ").c_str(), O_RDONLY);
    char byte = 0;
    return fd >= 0 && ::read(fd, &byte, 1) == 1;
  }
  if (name == "mem") return can_open(proc + "/mem", O_RDONLY);
  if (name == "stdout") return can_open(proc + "/fd/1", O_WRONLY);
  if (name == "cwd") return can_open(proc + "/cwd/secret", O_RDONLY);
  if (name == "root") return can_open(proc + "/root/etc/passwd", O_RDONLY);
  if (name == "oom") return can_open(proc + "/oom_score_adj", O_WRONLY);
  if (name == "ptrace") return ::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) == 0;
  if (name == "vm_readv") return read_memory(pid);
  if (name == "pidfd_getfd") return steal_descriptor(pid);
  if (name == "kill") return ::kill(pid, SIGKILL) == 0;
  if (name == "signal_init") return ::kill(1, SIGTERM) == 0;
  if (name == "prlimit") return limit_of(pid);
  if (name == "read") return can_open(argument, O_RDONLY);
  if (name == "write") return can_open(argument, O_WRONLY | O_CREAT);
  if (name == "rename") return ::rename(argument, (std::string(argument) + ".x").c_str()) == 0;
  if (name == "tcp") return connect_tcp(0, pid);
  if (name == "mptcp") return connect_tcp(262, pid);
  if (name == "fast_open") return fast_open(pid);
  if (name == "listen") {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in at = loopback(pid);
    return fd >= 0 && ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 && ::listen(fd, 1) == 0;
  }
  if (name == "udp") return ::socket(AF_INET, SOCK_DGRAM, 0) >= 0;
  if (name == "udp6") return ::socket(AF_INET6, SOCK_DGRAM, 0) >= 0;
  if (name == "raw") return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0;
  if (name == "packet") return ::socket(AF_PACKET, SOCK_RAW, 0) >= 0;
  if (name == "vsock") return ::socket(AF_VSOCK, SOCK_STREAM, 0) >= 0;
  if (name == "alg") return ::socket(AF_ALG, SOCK_SEQPACKET, 0) >= 0;
  if (name == "netlink_audit") return ::socket(AF_NETLINK, SOCK_RAW, 9) >= 0;
  if (name == "abstract") return abstract_unix(argument);
  if (name == "control") return control_socket();
  if (name == "sysv") return ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0;
  if (name == "mqueue") return ::syscall(SYS_mq_open, "q", O_CREAT | O_RDWR, 0600, nullptr) >= 0;
  if (name == "io_uring") return ring();
  if (name == "unshare") return ::unshare(CLONE_NEWUSER) == 0;
  if (name == "clone_newuser") {
    const long child = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (child == 0) ::_exit(0);
    return child > 0;
  }
  if (name == "mount") return ::mount("none", "/tmp", "tmpfs", 0, nullptr) == 0;
  if (name == "keyctl") return ::syscall(SYS_keyctl, 0, -3, 0) >= 0;
  if (name == "bpf") return ::syscall(SYS_bpf, 0, nullptr, 0) >= 0;
  if (name == "userfaultfd") return ::syscall(SYS_userfaultfd, 0) >= 0;
  if (name == "mknod") return ::mknod(argument, S_IFBLK | 0600, 0x100) == 0;
  if (name == "x32") {  // must die by SIGSYS
    ::syscall(0x40000000 + 39);
    return true;
  }
  // What must work, to show that the harness can tell: reported as HIT too.
  if (name == "socketpair") {
    int ends[2];
    return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0;
  }
  if (name == "netlink_route") return ::socket(AF_NETLINK, SOCK_RAW, 0) >= 0;
  ::printf("unknown attack %s\n", name.c_str());
  ::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  errno = 0;
  if (run(argv[1], argc > 2 ? argv[2] : "0")) {
    ::printf("HIT\n");
  } else {
    ::printf("blocked %d\n", errno);
  }
}
