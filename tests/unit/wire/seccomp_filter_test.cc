#include "box/init/seccomp_filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace mcpbox::box::init {
namespace {

#if defined(__x86_64__)
constexpr unsigned kArch = AUDIT_ARCH_X86_64;
#else
constexpr unsigned kArch = AUDIT_ARCH_AARCH64;
#endif

// Classic BPF as seccomp(2) runs it, for the instructions that the filter uses; anything else throws.
unsigned evaluate(const std::vector<sock_filter>& program, const seccomp_data& data) {
  unsigned accumulator = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& op = program[at];
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (op.k % 4 != 0 || op.k + 4 > sizeof data) throw std::out_of_range("load");
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + op.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= op.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (accumulator & op.k) != 0 ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JA:
        at += op.k;
        break;
      case BPF_RET | BPF_K:
        return op.k;
      default:
        throw std::logic_error("unknown instruction");
    }
  }
  throw std::logic_error("the program has no end");
}

unsigned verdict_of(const std::vector<sock_filter>& filter, long number, std::initializer_list<std::uint64_t> arguments,
                    unsigned arch = kArch) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = arch;
  std::size_t i = 0;
  for (const std::uint64_t argument : arguments) data.args[i++] = argument;
  return evaluate(filter, data);
}
unsigned verdict(long number, std::initializer_list<std::uint64_t> arguments = {}, unsigned arch = kArch) {
  static const auto filter = build_seccomp_filter();
  return verdict_of(filter, number, arguments, arch);
}
constexpr unsigned error(int number) {
  return SECCOMP_RET_ERRNO | static_cast<unsigned>(number);
}

TEST(SeccompFilter, fits_the_kernels_limit) {
  EXPECT_LE(build_seccomp_filter().size(), static_cast<std::size_t>(BPF_MAXINSNS));
}

TEST(SeccompFilter, has_memory_without_a_name_only_for_whom_the_kernel_counts) {
  const auto counted = build_seccomp_filter(Network::kShared, MemoryFiles::kCounted);
  EXPECT_EQ(verdict_of(counted, SYS_memfd_create, {}, kArch), SECCOMP_RET_ALLOW);
  EXPECT_EQ(verdict_of(counted, 447, {}, kArch), error(ENOSYS)) << "memfd_secret(2)";
}

TEST(SeccompFilter, leaves_the_machines_huge_pages_alone) {
  const auto counted = build_seccomp_filter(Network::kOwn, MemoryFiles::kCounted);
  EXPECT_EQ(verdict_of(counted, SYS_memfd_create, {0, MFD_CLOEXEC | MFD_HUGETLB}, kArch), error(ENOMEM));
  EXPECT_EQ(verdict(SYS_memfd_create, {0, MFD_HUGETLB}), error(ENOSYS));
  const auto mapped = [](std::uint64_t flags) {
    return verdict(SYS_mmap, {0, 2 << 20, PROT_READ | PROT_WRITE, flags, ~0ull});
  };
  EXPECT_EQ(mapped(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB), error(ENOMEM));
  EXPECT_EQ(mapped(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 30u << MAP_HUGE_SHIFT), error(ENOMEM)) << "of 1 GiB";
  EXPECT_EQ(mapped(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK), SECCOMP_RET_ALLOW);
}

TEST(SeccompFilter, lets_ordinary_calls_through) {
  for (const long number : {SYS_read, SYS_write, SYS_execve, SYS_futex, SYS_mmap, SYS_openat, SYS_connect, SYS_bind,
                            SYS_exit_group, SYS_kill, SYS_epoll_pwait, SYS_statx, SYS_accept4}) {
    EXPECT_EQ(verdict(number), SECCOMP_RET_ALLOW) << number;
  }
}

TEST(SeccompFilter, kills_foreign_architectures) {
  EXPECT_EQ(verdict(SYS_read, {}, AUDIT_ARCH_I386), SECCOMP_RET_KILL_PROCESS);
#if defined(__x86_64__)
  EXPECT_EQ(verdict(0x40000000 + SYS_read), SECCOMP_RET_KILL_PROCESS);
#endif
}

TEST(SeccompFilter, refuses_what_reaches_beyond_the_process) {
  for (const long number : {SYS_ptrace,
                            SYS_process_vm_readv,
                            SYS_process_vm_writev,
                            SYS_pidfd_getfd,
                            SYS_keyctl,
                            SYS_add_key,
                            SYS_request_key,
                            SYS_userfaultfd,
                            SYS_bpf,
                            SYS_perf_event_open,
                            SYS_shmget,
                            SYS_semget,
                            SYS_msgget,
                            SYS_mq_open,
                            SYS_unshare,
                            SYS_setns,
                            SYS_mount,
                            SYS_umount2,
                            SYS_pivot_root,
                            SYS_open_by_handle_at,
                            SYS_kexec_load,
                            SYS_init_module,
                            SYS_finit_module,
                            SYS_delete_module,
                            SYS_reboot,
                            SYS_swapon}) {
    EXPECT_EQ(verdict(number), error(EPERM)) << number;
  }
}

// Numbers that are the same everywhere, and not yet in every distribution's headers.
TEST(SeccompFilter, refuses_the_newer_calls_for_mounts_too) {
  EXPECT_EQ(verdict(457), error(EPERM)) << "statmount(2)";
  EXPECT_EQ(verdict(458), error(EPERM)) << "listmount(2)";
  EXPECT_EQ(verdict(460), error(EPERM)) << "lsm_set_self_attr(2)";
  EXPECT_EQ(verdict(467), error(EPERM)) << "open_tree_attr(2)";
  EXPECT_EQ(verdict(SYS_migrate_pages), error(EPERM));
}

TEST(SeccompFilter, knows_no_call_that_is_newer_than_itself) {
  for (const long number : {470L, 471L, 500L, 547L, 1000L, 0x3FFFFFFFL}) {
    EXPECT_EQ(verdict(number), error(ENOSYS)) << number;
  }
  EXPECT_EQ(verdict(468), SECCOMP_RET_ALLOW) << "file_getattr(2), which only reads";
}

TEST(SeccompFilter, hides_what_callers_can_do_without) {
  for (const long number : {425L, 426L, 427L, 447L, static_cast<long>(SYS_clone3), static_cast<long>(SYS_memfd_create)})
    EXPECT_EQ(verdict(number), error(ENOSYS)) << number;
}

TEST(SeccompFilter, lets_nobody_make_children_of_its_parent) {
  EXPECT_EQ(verdict(SYS_clone, {CLONE_PARENT | SIGCHLD}), error(EPERM));
}

TEST(SeccompFilter, allows_threads_and_forks_but_no_namespaces) {
  EXPECT_EQ(verdict(SYS_clone, {SIGCHLD}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(verdict(SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS}),
            SECCOMP_RET_ALLOW);
  EXPECT_EQ(verdict(SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD}), SECCOMP_RET_ALLOW);
  for (const unsigned flag :
       {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) {
    EXPECT_EQ(verdict(SYS_clone, {flag | SIGCHLD}), error(EPERM)) << flag;
  }
}

TEST(SeccompFilter, allows_tcp_and_unix_sockets_only) {
  const auto socket = [](std::uint64_t family, std::uint64_t type, std::uint64_t protocol) {
    return verdict(SYS_socket, {family, type, protocol});
  };
  for (const int family : {AF_INET, AF_INET6}) {
    const auto f = static_cast<std::uint64_t>(family);
    EXPECT_EQ(socket(f, SOCK_STREAM, 0), SECCOMP_RET_ALLOW);
    EXPECT_EQ(socket(f, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP), SECCOMP_RET_ALLOW);
    EXPECT_EQ(socket(f, SOCK_DGRAM, 0), error(EACCES));
    EXPECT_EQ(socket(f, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP), error(EACCES));
    EXPECT_EQ(socket(f, SOCK_RAW, IPPROTO_ICMP), error(EACCES));
    EXPECT_EQ(socket(f, SOCK_STREAM, 262), error(EACCES));  // MPTCP
  }
  EXPECT_EQ(socket(AF_UNIX, SOCK_DGRAM, 0), SECCOMP_RET_ALLOW);
  EXPECT_EQ(socket(AF_NETLINK, SOCK_RAW, 0), SECCOMP_RET_ALLOW);
  EXPECT_EQ(socket(AF_NETLINK, SOCK_RAW, 9), error(EACCES));
  for (const std::uint64_t family : {AF_VSOCK, AF_ALG, AF_PACKET, AF_BLUETOOTH, AF_TIPC, 99}) {
    EXPECT_EQ(socket(family, SOCK_STREAM, 0), error(EAFNOSUPPORT)) << family;
  }
  // The upper half of the register is not looked at by the kernel either.
  EXPECT_EQ(socket((1ull << 32) | AF_INET, SOCK_DGRAM, 0), error(EACCES));
  EXPECT_EQ(verdict(SYS_socketpair, {AF_UNIX}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(verdict(SYS_socketpair, {AF_TIPC}), error(EAFNOSUPPORT));
}

TEST(SeccompFilter, allows_udp_where_the_network_is_the_servers_own) {
  const auto filter = build_seccomp_filter(Network::kOwn);
  const auto socket = [&](std::uint64_t family, std::uint64_t type, std::uint64_t protocol) {
    return verdict_of(filter, SYS_socket, {family, type, protocol});
  };
  for (const int family : {AF_INET, AF_INET6}) {
    const auto f = static_cast<std::uint64_t>(family);
    EXPECT_EQ(socket(f, SOCK_DGRAM, 0), SECCOMP_RET_ALLOW);
    EXPECT_EQ(socket(f, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP), SECCOMP_RET_ALLOW);
    EXPECT_EQ(socket(f, SOCK_STREAM, 0), SECCOMP_RET_ALLOW);
    EXPECT_EQ(socket(f, SOCK_DGRAM, IPPROTO_ICMP), error(EACCES));
    EXPECT_EQ(socket(f, SOCK_RAW, IPPROTO_UDP), error(EACCES));
    EXPECT_EQ(socket(f, SOCK_STREAM, 262), error(EACCES));
  }
  EXPECT_EQ(socket(AF_PACKET, SOCK_DGRAM, 0), error(EAFNOSUPPORT));
}

TEST(SeccompFilter, refuses_connecting_while_sending) {
  EXPECT_EQ(verdict(SYS_sendto, {3, 0, 1, MSG_FASTOPEN, 0, 0}), error(EPERM));
  EXPECT_EQ(verdict(SYS_sendmsg, {3, 0, MSG_FASTOPEN | MSG_NOSIGNAL}), error(EPERM));
  EXPECT_EQ(verdict(SYS_sendmmsg, {3, 0, 1, MSG_FASTOPEN}), error(EPERM));
  EXPECT_EQ(verdict(SYS_sendto, {3, 0, 1, MSG_NOSIGNAL}), SECCOMP_RET_ALLOW);
}

TEST(SeccompFilter, refuses_typing_into_a_terminal) {
  EXPECT_EQ(verdict(SYS_ioctl, {0, TIOCSTI}), error(EPERM));
  EXPECT_EQ(verdict(SYS_ioctl, {0, FIONREAD}), SECCOMP_RET_ALLOW);
}

// A project says to whose account a file counts; where a server has no user namespace of its own, the kernel would let
// it choose.
TEST(SeccompFilter, refuses_to_change_what_a_file_counts_for) {
  EXPECT_EQ(verdict(SYS_ioctl, {3, FS_IOC_FSSETXATTR}), error(ENOTTY));
  EXPECT_EQ(verdict(SYS_ioctl, {3, FS_IOC_SETFLAGS}), error(ENOTTY));
  EXPECT_EQ(verdict(469), error(ENOSYS)) << "file_setattr(2)";
  EXPECT_EQ(verdict(SYS_ioctl, {3, FS_IOC_GETFLAGS}), SECCOMP_RET_ALLOW);
}

}  // namespace
}  // namespace mcpbox::box::init
