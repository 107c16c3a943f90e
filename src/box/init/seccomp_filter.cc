#include "box/init/seccomp_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace mcpbox::box::init {
namespace {

#if defined(__x86_64__)
constexpr unsigned kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kArch = AUDIT_ARCH_AARCH64;
#else
#error "mcpbox-init knows the system calls of x86_64 and aarch64 only"
#endif

// Numbers that are the same on every architecture and newer than the headers of some distributions.
constexpr unsigned kQuotactlFd = 443;
constexpr unsigned kStatmount = 457, kListmount = 458, kLsmSetSelfAttr = 460, kOpenTreeAttr = 467;
constexpr unsigned kIoUringSetup = 425, kIoUringEnter = 426, kIoUringRegister = 427;

constexpr unsigned kDenied[] = {
    // Other processes' memory and descriptors.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_process_madvise,
    SYS_move_pages,
    SYS_migrate_pages,
    // Kernel interfaces with a history of privilege escalation.
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_userfaultfd,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_fanotify_init,
    kLsmSetSelfAttr,
    // IPC that is not a file: no permission of ours covers it.
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_semctl,
    SYS_msgget,
    SYS_msgsnd,
    SYS_msgrcv,
    SYS_msgctl,
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_mq_timedsend,
    SYS_mq_timedreceive,
    SYS_mq_notify,
    SYS_mq_getsetattr,
    // Namespaces, mounts and file handles.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    kOpenTreeAttr,
    kStatmount,
    kListmount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_quotactl,
    kQuotactlFd,
    // The machine.
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_vhangup,
    SYS_lookup_dcookie,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
    SYS_create_module,
    SYS_get_kernel_syms,
    SYS_query_module,
    SYS_nfsservctl,
    SYS_modify_ldt,
#endif
};

// Memory that not even the kernel reads.
constexpr unsigned kMemfdSecret = 447;
// FS_IOC_FSSETXATTR as a call of its own, Linux 6.17.
constexpr unsigned kFileSetattr = 469;
// Both architectures number new calls alike. Before this goes up, each call up to the new one needs its verdict.
constexpr unsigned kNewestKnown = kFileSetattr;

// Callers fall back when these "do not exist": libuv from io_uring to epoll, libc from clone3 to clone, whose flags can
// be seen.
constexpr unsigned kAbsent[] = {kIoUringSetup, kIoUringEnter, kIoUringRegister, SYS_clone3, kMemfdSecret, kFileSetattr};

constexpr unsigned kNewNamespaces = 0x7E020000;  // every CLONE_NEW* flag of clone(2)
constexpr unsigned kTypeMask = 0xF;              // socket type without SOCK_CLOEXEC and SOCK_NONBLOCK

constexpr unsigned kAllow = SECCOMP_RET_ALLOW;
constexpr unsigned fail_with(int number) {
  return SECCOMP_RET_ERRNO | static_cast<unsigned>(number);
}

// Appends instructions; each check leaves the accumulator as it likes, so the next one loads again.
class Program {
 public:
  void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)); }
  // The low 32 bits; the system calls concerned take ints there. Both architectures are little endian.
  void load_argument(unsigned index) { load(offsetof(seccomp_data, args) + sizeof(__u64) * index); }
  void mask(unsigned bits) { add(BPF_ALU | BPF_AND | BPF_K, bits); }
  void ret(unsigned verdict) { add(BPF_RET | BPF_K, verdict); }
  void ret_if_equal(unsigned value, unsigned verdict) {
    jump(BPF_JEQ, value, 0, 1);
    ret(verdict);
  }
  void ret_unless_equal(unsigned value, unsigned verdict) {
    jump(BPF_JEQ, value, 1, 0);
    ret(verdict);
  }
  void ret_if_any_bit(unsigned bits, unsigned verdict) {
    jump(BPF_JSET, bits, 0, 1);
    ret(verdict);
  }
  void ret_if_at_least(unsigned value, unsigned verdict) {
    jump(BPF_JGE, value, 0, 1);
    ret(verdict);
  }
  // Runs `body`, which must end in ret() on every path, for one system call only.
  template <class Body>
  void on_call(unsigned number, Body body) {
    load(offsetof(seccomp_data, nr));
    const size_t at = code_.size();
    jump(BPF_JEQ, number, 0, 0);
    body();
    code_[at].jf = static_cast<unsigned char>(code_.size() - at - 1);
  }
  template <class Body>
  void when_equal(unsigned value, Body body) {
    const size_t at = code_.size();
    jump(BPF_JEQ, value, 0, 0);
    body();
    code_[at].jf = static_cast<unsigned char>(code_.size() - at - 1);
  }
  // Of a system call's number, which is loaded: the verdict that stands with it, if any; else on with what follows. By
  // halves: the kernel runs the whole program for each number that there is when it is installed, which is at every
  // start of a server.
  void ret_by_number(std::span<const std::pair<unsigned, unsigned>> sorted) {
    std::vector<std::size_t> ends;
    search(sorted, ends);
    for (const std::size_t end : ends) code_[end].k = static_cast<unsigned>(code_.size() - end - 1);
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void search(std::span<const std::pair<unsigned, unsigned>> sorted, std::vector<std::size_t>& ends) {
    constexpr std::size_t kFew = 3;
    if (sorted.size() <= kFew) {
      for (const auto& [number, verdict] : sorted) ret_if_equal(number, verdict);
      ends.push_back(code_.size());
      return add(BPF_JMP | BPF_JA, 0);
    }
    const std::size_t half = sorted.size() / 2;
    const std::size_t at = code_.size();
    jump(BPF_JGE, sorted[half].first, 0, 0);
    search(sorted.first(half), ends);
    const std::size_t distance = code_.size() - at - 1;
    if (distance > UINT8_MAX) ::abort();  // a jump is a byte; a longer list needs one more step before the halves
    code_[at].jt = static_cast<unsigned char>(distance);
    search(sorted.subspan(half), ends);
  }
  void add(unsigned code, unsigned k) { code_.push_back({static_cast<unsigned short>(code), 0, 0, k}); }
  void jump(unsigned test, unsigned k, unsigned char yes, unsigned char no) {
    code_.push_back({static_cast<unsigned short>(BPF_JMP | test | BPF_K), yes, no, k});
  }
  std::vector<sock_filter> code_;
};

// Pages of the machine's pool (vm.nr_hugepages) are in no process's resident set and in no control group: who takes
// them has them from everybody. As the kernel answers where the pool is empty, which it mostly is.
void huge_page_rules(Program& p) {
  p.on_call(SYS_mmap, [&] {
    p.load_argument(3);
    p.ret_if_any_bit(MAP_HUGETLB, fail_with(ENOMEM));
    p.ret(kAllow);
  });
  p.on_call(SYS_memfd_create, [&] {
    p.load_argument(1);
    p.ret_if_any_bit(MFD_HUGETLB, fail_with(ENOMEM));
    p.ret(kAllow);
  });
}

void socket_rules(Program& p, Network network) {
  p.on_call(SYS_socket, [&] {
    p.load_argument(0);
    p.ret_if_equal(AF_UNIX, kAllow);
    p.when_equal(AF_NETLINK, [&] {  // getifaddrs(3), os.networkInterfaces(): NETLINK_ROUTE, which is 0
      p.load_argument(2);
      p.ret_if_equal(0, kAllow);
      p.ret(fail_with(EACCES));
    });
    const auto by_kind = [&] {
      p.load_argument(1);
      p.mask(kTypeMask);
      if (network == Network::kOwn) {
        p.when_equal(SOCK_DGRAM, [&] {
          p.load_argument(2);
          p.ret_if_equal(0, kAllow);
          p.ret_if_equal(IPPROTO_UDP, kAllow);
          p.ret(fail_with(EACCES));
        });
      }
      p.ret_unless_equal(SOCK_STREAM, fail_with(EACCES));
      p.load_argument(2);
      p.ret_if_equal(0, kAllow);
      p.ret_if_equal(IPPROTO_TCP, kAllow);
      p.ret(fail_with(EACCES));
    };
    p.when_equal(AF_INET, by_kind);
    p.when_equal(AF_INET6, by_kind);
    p.ret(fail_with(EAFNOSUPPORT));
  });
  p.on_call(SYS_socketpair, [&] {
    p.load_argument(0);
    p.ret_if_equal(AF_UNIX, kAllow);
    p.ret(fail_with(EAFNOSUPPORT));
  });
  // Fast open connects while sending, past Landlock's connect rule.
  const auto no_fast_open = [&](unsigned number, unsigned flags_argument) {
    p.on_call(number, [&] {
      p.load_argument(flags_argument);
      p.ret_if_any_bit(MSG_FASTOPEN, fail_with(EPERM));
      p.ret(kAllow);
    });
  };
  no_fast_open(SYS_sendto, 3);
  no_fast_open(SYS_sendmsg, 2);
  no_fast_open(SYS_sendmmsg, 3);
}

}  // namespace

std::vector<sock_filter> build_seccomp_filter(Network network, MemoryFiles memory) {
  Program p;
  p.load(offsetof(seccomp_data, arch));
  p.ret_unless_equal(kArch, SECCOMP_RET_KILL_PROCESS);
  p.load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
  p.ret_if_at_least(0x40000000, SECCOMP_RET_KILL_PROCESS);  // the x32 calls, which repeat all others under new numbers
#endif
  p.ret_if_at_least(kNewestKnown + 1, fail_with(ENOSYS));
  std::vector<std::pair<unsigned, unsigned>> refused;
  for (const unsigned number : kAbsent) refused.emplace_back(number, fail_with(ENOSYS));
  if (memory == MemoryFiles::kNotCounted) refused.emplace_back(SYS_memfd_create, fail_with(ENOSYS));
  for (const unsigned number : kDenied) refused.emplace_back(number, fail_with(EPERM));
  std::ranges::sort(refused);
  p.ret_by_number(refused);
  p.on_call(SYS_clone, [&] {
    p.load_argument(0);
    p.ret_if_any_bit(kNewNamespaces | CLONE_PARENT, fail_with(EPERM));  // nobody makes children of PID 1 itself
    p.ret(kAllow);
  });
  p.on_call(SYS_ioctl, [&] {
    p.load_argument(1);
    p.ret_if_equal(TIOCSTI, fail_with(EPERM));  // types into a terminal that it shares
    p.ret_if_equal(TIOCLINUX, fail_with(EPERM));
    // The project by which a file system counts what a server has (quotactl(2)). In a user namespace the kernel refuses
    // that itself; not in all versions to take the flag away by which it is inherited.
    p.ret_if_equal(FS_IOC_FSSETXATTR, fail_with(ENOTTY));
    p.ret_if_equal(FS_IOC_SETFLAGS, fail_with(ENOTTY));
    p.ret(kAllow);
  });
  huge_page_rules(p);
  socket_rules(p, network);
  p.ret(kAllow);
  return p.take();
}

bool has_seccomp_filters() {
  const std::uint32_t action = SECCOMP_RET_ERRNO;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int install_seccomp_filter(const std::vector<sock_filter>& filter) {
  sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

}  // namespace mcpbox::box::init
