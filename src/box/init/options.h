// The command line of mcpbox-init, and what `--build` puts in its place for the PID 1 of a native sandbox.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "box/init/server_groups.h"
#include "box/init/spaces.h"

namespace mcpbox::box::init {

struct Options {
  bool version = false;            // --version: print it and end
  bool build = false;              // --build: make the sandbox first (build.h); no other option goes with it
  std::string control;             // --control: absolute path of the control socket
  uid_t owner = 0;                 // --owner: owns the socket's directory; controllers have this uid, or 0
  std::vector<std::string> roots;  // --root: directories that file operations may work in
  std::uint16_t egress_port = 0;   // --egress: the relay's port on loopback; 0: there is no relay
  std::string egress_socket;       // --egress: absolute path of the proxy's socket
  std::string sandbox;             // --sandbox: its name, which the relay tells the proxy; "" = none
  bool ephemeral = false;          // --ephemeral: PID 1 ends with its controller
  bool one_id = false;             // --one-id: the sandbox has a single user id (one_id.h)
  // --spaces, --spaces-without-proc: each process gets namespaces of its own
  Spaces spaces = Spaces::kNone;
  uid_t try_spaces =
      0;  // --try-spaces: the sandbox ends at once, with wire::kExitNoSpaces, where this user cannot have them

  // build_sandbox() sets these and no option does. It opens both descriptors before it takes their places out of the
  // sandbox's tree; -1: PID 1 opens them itself, by their paths.
  int listener = -1;
  int egress_directory = -1;
  ServerGroups groups;
  // Our parent is the keeper (build.h): the kernel kills us when it dies.
  bool die_with_parent = false;
};

// Reads the command line. The error is one line for people.
std::expected<Options, std::string> parse_options(int argc, const char* const* argv);

}  // namespace mcpbox::box::init
