// Part of build_root.h: what is left to do once the new root stands.
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "box/init/build_root.h"
#include "box/init/loopback.h"

namespace mcpbox::box::init {
namespace {

// Switching to a server's uid and gid, signalling it, and dropping its bounding set. The same as on every other engine.
constexpr int kKept[] = {CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP};

Op<void> limit(int resource, rlim_t value, const char* name) {
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &now) != 0)
    return failed(std::string("read the limit of ") + name);
  // Never above what we were given: without privileges it could not be raised.
  if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) value = now.rlim_max;
  const rlimit wanted{value, value};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &wanted) != 0)
    return failed(std::string("limit ") + name);
  return {};
}

Op<void> drop_capabilities(bool one_id) {
  // The servers' own namespaces map our root, and that takes CAP_SETFCAP (user_namespaces(7), since Linux 5.12).
  std::uint32_t kept = one_id ? 1u << CAP_SETFCAP : 0;
  for (const int capability : kKept) kept |= 1u << capability;
  for (int capability = 0; capability < 64; ++capability) {
    if (capability < 32 && (kept >> capability & 1u) != 0) continue;
    const int held = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held < 0) break;  // beyond the kernel's last one
    if (held == 1 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return failed("drop a capability");
  }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return failed("drop ambient capabilities");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  data[0].effective = data[0].permitted = kept;
  if (::syscall(SYS_capset, &header, data) != 0) return failed("drop capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("set no_new_privs");
  return {};
}

}  // namespace

Op<void> settle_in(const wire::BuildSpec& spec) {
  if (::sethostname("mcpbox", 6) != 0) return failed("set the host name");
  // After the move into its control groups, so that those are what it sees as the root.
  if (::unshare(CLONE_NEWCGROUP) != 0) return failed("make a control group namespace");
  if (auto up = bring_loopback_up(); !up) return up;
  // Kernels without key rings have nothing to leave.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS && errno != EDQUOT)
    return failed("leave the session's key ring");
  struct {
    int resource;
    rlim_t value;
    const char* name;
  } const limits[] = {{RLIMIT_NPROC, spec.processes, "processes"},     {RLIMIT_NOFILE, 4096, "open files"},
                      {RLIMIT_FSIZE, 8ull << 30, "the size of files"}, {RLIMIT_CORE, 0, "core files"},
                      {RLIMIT_MEMLOCK, 65536, "locked memory"},        {RLIMIT_MSGQUEUE, 0, "message queues"}};
  for (const auto& each : limits) {
    if (auto set = limit(each.resource, each.value, each.name); !set) return set;
  }
  ::clearenv();
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  return drop_capabilities(spec.one_id);
}

}  // namespace mcpbox::box::init
