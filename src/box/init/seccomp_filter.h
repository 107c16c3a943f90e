// The seccomp filter of managed processes: a deny-list on top of what the engine filters.
//
// It does not rely on the engine, whose own filter allows io_uring or AF_VSOCK in some versions. Built as plain
// instructions, so that a unit test can evaluate every verdict in user space.
//
// Calls newer than those of Linux 6.17 (from 470, listns(2), on) do not exist for a managed process, whatever the
// kernel has: ENOSYS, with which a libc that tries a new call first takes the older one, as runc answers what its
// profile is too old for. EPERM would end such a program.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace mcpbox::box::init {

// Whose network namespace the process is in.
enum class Network : bool { kShared, kOwn };

// Memory without a name, that nobody needs to have mapped (memfd_create(2)), is found by the kernel alone: it does not
// exist for who has no control group of his own, and takes /dev/shm.
enum class MemoryFiles : bool { kNotCounted, kCounted };

// Of sockets in a shared network only TCP streams and unix sockets: UDP, MPTCP and TCP fast open would pass by
// Landlock's TCP rules. In its own, where nobody else is, UDP too.
std::vector<sock_filter> build_seccomp_filter(Network network = Network::kShared,
                                              MemoryFiles memory = MemoryFiles::kNotCounted);

// Whether the kernel has filters and lets us use them.
bool has_seccomp_filters();
// Installs it for the calling thread, which must have no_new_privs. Returns 0 or errno.
int install_seccomp_filter(const std::vector<sock_filter>& filter);

}  // namespace mcpbox::box::init
