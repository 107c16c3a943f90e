// Where this user's mcpbox keeps its things.
#pragma once

#include <string>

#include "base/result.h"

namespace mcpbox::app {

struct Paths {
  std::string state_dir;  // root: /var/lib/mcpbox; else $XDG_STATE_HOME/mcpbox or ~/.local/state/mcpbox. Made 0700.
  std::string run_dir;    // root: /run/mcpbox; else $XDG_RUNTIME_DIR/mcpbox or /tmp/mcpbox-<uid>. Made 0700 and checked
                          // to be ours.
  std::string socket;     // <run_dir>/control.sock
  std::string home;       // $HOME or the passwd entry
};

// Empty arguments mean the defaults above; MCPBOX_STATE_DIR and MCPBOX_RUN_DIR come before them.
Result<Paths> make_paths(const std::string& state_dir, const std::string& socket);

// The same without making or checking them: for verbs that change nothing.
Paths name_paths(const std::string& state_dir, const std::string& socket);

// The socket alone, without making directories: for verbs that only talk to a daemon.
std::string default_socket();

// kInvalidArgument when the folder that a daemon's socket is to lie in is not there: nobody makes it but for the run
// directory. What cannot be told passes.
Result<void> check_socket_folder(const std::string& socket);

// 32 hexadecimal digits, drawn once and kept in <state_dir>/instance.
Result<std::string> instance_id(const std::string& state_dir);

// Where the egress proxy of this instance's daemon has its socket: of its own, because daemons with other state
// directories share the run directory.
std::string daemon_egress_directory(const Paths& paths, const std::string& instance);

// Removes what killed processes of this instance left in the run directory: control directories of sandboxes that are
// gone, and sockets that nobody serves. The instance may have sandboxes, on any engine: their control sockets answer.
void remove_stale_files(const Paths& paths, const std::string& instance);

// mcpbox-init: MCPBOX_INIT; else beside this executable; else ../libexec/mcpbox/mcpbox-init. kNotFound names what was
// looked at.
Result<std::string> find_init();

}  // namespace mcpbox::app
