#include <malloc.h>
#include <signal.h>

#include "app/cli.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "sys/standard_descriptors.h"

int main(int argc, char** argv) {
  if (!mcpbox::sys::open_standard_descriptors()) return mcpbox::app::kFailed;
  // A large message has an area of its own, which goes back to the system with it, however many there were before: by
  // itself malloc(3) would keep more for each that was freed.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  // A reader that went away and a file that may not grow are errors of the write, for finish() to say. Programs that
  // are started get the defaults back.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  // Ignored by our caller, the kernel would reap children that we wait for, and give their numbers away.
  ::signal(SIGCHLD, SIG_DFL);
  return mcpbox::app::finish(mcpbox::app::run_command_line(argc, argv));
}
