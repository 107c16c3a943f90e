// The command line of mcpbox-init.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace mcpbox::box::init {

struct Options {
  bool version = false;
  std::string control;             // path of the control socket
  uid_t owner = 0;                 // owns the directory of the socket; the uid of controllers
  std::vector<std::string> roots;  // directories that file operations may work in
  std::uint16_t egress_port = 0;   // 0: no relay
  std::string egress_socket;
  bool ephemeral = false;
  bool one_id = false;  // the sandbox has a single id (one_id.h)
  // Never from the command line: what is open already, because its place in the sandbox is gone.
  int listener = -1;
  int egress_directory = -1;
  bool build = false;            // make the sandbox first; nothing else may be given then
  bool die_with_parent = false;  // never from the command line: the keeper of build.h is our parent
};

// The error is one line for people.
std::expected<Options, std::string> parse_options(int argc, const char* const* argv);

}  // namespace mcpbox::box::init
