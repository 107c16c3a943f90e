// A server's own namespaces: user, mount, IPC, UTS, network and PID.
//
// Who is to run a server becomes the server's user first and makes the namespaces then: they belong to that user, and
// what is done in them needs none of PID 1's capabilities. The user namespace has that one user, with the number
// kUserInside and a name; whatever belongs to anybody else shows as nobody's, and file modes go on counting. The server
// itself makes no namespaces: its seccomp filter comes last.
//
//   PID 1 ── child, becomes the user, unshare(2), maps ids, ends
//     ├── reaper: process 1 of the new PID namespace. It runs no program, and when it is killed, everything in there is
//     └── server: process 2, a child of PID 1 all the same, which so sees its end as it was
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "box/wire/messages.h"

namespace mcpbox::box::init {

inline constexpr unsigned kUserInside = 1000;

enum class Spaces : std::uint8_t {
  kNone,
  // Where no /proc can be mounted, as below an engine's masks: then there is no PID namespace either, and the sandbox's
  // /proc stays.
  kWithoutProc,
  kAll,
};

// Makes the namespaces, in a child of PID 1 that is the server's user and has one thread. With kAll the caller ends in
// here; its new process returns, with every capability in them and nothing mounted yet. PID 1 is told over `report` who
// it is (start_report.h). Returns 0, or errno and the step, also in the caller.
int enter_spaces(Spaces spaces, uid_t uid, gid_t gid, int report, std::string& step);

// Mounts what is the server's own: /tmp, /dev/shm, /dev/pts, /proc, and /etc/passwd, group and hosts. Takes the
// working directory "/". Places that the sandbox does not have stay as they are. PID 1 gets the memory file systems
// that the server may fill over `report`.
int furnish_spaces(Spaces spaces, const wire::Spawn& spec, int report, std::string& step);

// The loopback interface, and where `port` is not 0 a listener on it, which PID 1 gets for the egress relay.
int connect_spaces(std::uint16_t port, int report, std::string& step);

// Whether this sandbox lets `uid` have them: makes them once, as for a server, and waits for that. Needs what it takes
// to become that user.
bool can_have_spaces(Spaces spaces, uid_t uid);

}  // namespace mcpbox::box::init
