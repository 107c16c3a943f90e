// landlock(7) as the kernel has it up to ABI 7, spelled out: Debian 12's <linux/landlock.h> ends at ABI 2.
//
// Functions return what the system call does, with errno. A kernel takes a structure that is shorter or longer than its
// own as long as the bits that it does not know are zero: ask only for what abi() has.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace mcpbox::landlock {

struct RulesetAttr {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

inline constexpr std::uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadDir = 1 << 3;
inline constexpr std::uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kIoctlDev = 1 << 15;
inline constexpr std::uint64_t kBindTcp = 1 << 0, kConnectTcp = 1 << 1;             // since ABI 4
inline constexpr std::uint64_t kScopeAbstractUnix = 1 << 0, kScopeSignal = 1 << 1;  // since ABI 6

// 0 where the kernel has no Landlock or does not let us use it.
inline int abi() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1u);
  return version > 0 ? static_cast<int>(version) : 0;
}

// Every right over files that the ABI knows.
inline std::uint64_t file_rights(int abi) {
  return ((1u << 13) - 1) | (abi >= 2 ? kRefer : 0) | (abi >= 3 ? kTruncate : 0) | (abi >= 5 ? kIoctlDev : 0);
}

inline int create_ruleset(const RulesetAttr& attr) {
  return static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0u));
}

// The tree beneath the descriptor; `rights` must be among the handled ones.
inline int add_path(int ruleset, int path_fd, std::uint64_t rights) {
  struct [[gnu::packed]] {
    std::uint64_t allowed_access;
    std::int32_t parent_fd;
  } const rule{rights, path_fd};
  return static_cast<int>(::syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0u));
}

inline int add_port(int ruleset, std::uint16_t port, std::uint64_t rights) {
  const struct {
    std::uint64_t allowed_access;
    std::uint64_t port;
  } rule{rights, port};
  return static_cast<int>(::syscall(SYS_landlock_add_rule, ruleset, 2, &rule, 0u));
}

// For the calling thread, which needs no_new_privs.
inline int enter(int ruleset) {
  return static_cast<int>(::syscall(SYS_landlock_restrict_self, ruleset, 0u));
}

}  // namespace mcpbox::landlock
