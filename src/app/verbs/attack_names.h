// What the attacks of mcpbox-probe are called, in the order in which they are shown.
#pragma once

#include <string_view>

namespace mcpbox::app {

struct AttackName {
  std::string_view id;
  std::string_view what;
};

inline constexpr AttackName kAttacks[] = {
    {"A01", "see its arguments in /proc"},
    {"A02", "read its variables in /proc"},
    {"A03", "ptrace it"},
    {"A04", "read its memory in /proc"},
    {"A05", "forge an answer on its stdout"},
    {"A06", "read its files through /proc"},
    {"A07", "read its files"},
    {"A08", "change its code"},
    {"A09", "move its folder away"},
    {"A10", "connect to its TCP port"},
    {"A11", "connect to its abstract socket"},
    {"A12", "read its System V shared memory"},
    {"A13", "poison installed packages"},
    {"A14", "leave a script for login shells"},
    {"A15", "meet it in /tmp or /dev/shm"},
    {"A16", "make a block device"},
    {"A17", "open a packet socket"},
    {"A18", "run a setuid program from its folder"},
    {"A19", "su"},
    {"A20", "make a user namespace"},
    {"A21", "mount a file system"},
    {"A22", "set up io_uring"},
    {"A23", "open a vsock socket"},
    {"A24", "open an AF_ALG socket"},
    {"A25", "open a userfaultfd"},
    {"A26", "use bpf"},
    {"A27", "use keyrings"},
    {"A28", "reach a service of the host"},
    {"A29", "give it to the kernel when memory is short"},
    {"A30", "lower its limits"},
    {"A31", "kill it"},
    {"A32", "signal PID 1 of the sandbox"},
};
// Neighbours of those.
inline constexpr AttackName kMoreAttacks[] = {
    {"B01", "read its memory by process_vm_readv"},
    {"B02", "take its descriptors"},
    {"B03", "signal one of its threads"},
    {"B04", "write into the system or mcpbox's folders"},
    {"B05", "list the folders of all servers"},
    {"B06", "open a raw socket"},
    {"B07", "be root, or in a group of somebody else"},
    {"B08", "have capabilities, or no system call filter"},
};
inline constexpr AttackName kMeantToWork[] = {
    {"W01", "listen on 127.0.0.1 and talk to itself"},
    {"W02", "use /tmp"},
    {"W03", "use /dev/shm"},
    {"W04", "have a user's name"},
    {"W05", "open a terminal"},
};

}  // namespace mcpbox::app
