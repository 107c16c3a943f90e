// Part of probe.h: system calls that open more of the kernel than a server needs.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

constexpr long kIoUringSetup = 425;

Outcome make_device(const Target& target) {
  Outcome outcome;
  const char* const home = ::getenv("HOME");
  for (const std::string& folder : {std::string(home != nullptr ? home : "/tmp"), std::string("/tmp")}) {
    const std::string path = folder + "/" + abstract_name(target) + "-device";
    if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(7, 255)) == 0) {
      ::unlink(path.c_str());
      return hit("made one");
    }
    outcome = blocked_by(errno);
  }
  return outcome;
}

Outcome make_namespace(const Target&) {
  return ::unshare(CLONE_NEWUSER) == 0 ? hit("made one") : blocked_by(errno);
}

// Over a folder of its own, which goes with the process's own namespace or is taken off again.
Outcome mount_something(const Target& target) {
  const std::string place = "/tmp/" + abstract_name(target) + "-mount";
  ::mkdir(place.c_str(), 0700);
  const bool mounted = ::mount("none", place.c_str(), "tmpfs", 0, nullptr) == 0;
  const int error = errno;
  if (mounted) ::umount2(place.c_str(), MNT_DETACH);
  ::rmdir(place.c_str());
  return mounted ? hit("mounted") : blocked_by(error);
}

Outcome set_up_ring(const Target&) {
  char parameters[256] = {};
  return ::syscall(kIoUringSetup, 1, parameters) >= 0 ? hit("set up") : blocked_by(errno);
}

Outcome handle_faults(const Target&) {
  return ::syscall(SYS_userfaultfd, O_CLOEXEC) >= 0 ? hit("opened") : blocked_by(errno);
}

Outcome make_bpf_map(const Target&) {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 4;
  attributes.max_entries = 1;
  return ::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes) >= 0 ? hit("made a map")
                                                                                 : blocked_by(errno);
}

Outcome open_keyring(const Target&) {
  return ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0) >= 0 ? hit("has the user's")
                                                                                     : blocked_by(errno);
}

}  // namespace

void add_kernel_attacks(std::vector<Attack>& attacks) {
  attacks.push_back({"A16", make_device});
  attacks.push_back({"A20", make_namespace});
  attacks.push_back({"A21", mount_something});
  attacks.push_back({"A22", set_up_ring});
  attacks.push_back({"A25", handle_faults});
  attacks.push_back({"A26", make_bpf_map});
  attacks.push_back({"A27", open_keyring});
}

}  // namespace mcpbox::box::probe
