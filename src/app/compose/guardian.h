// Takes the sandbox of `mcpbox run` away when mcpbox itself is killed: SIGKILL leaves no time to do that oneself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::app {

// A process in a session of its own that holds none of our descriptors and waits for our end. mcpbox-init ends a
// sandbox whose controller is gone; what is left for the guardian are the moments before there is one (between asking
// the engine for a container and being connected), and our directories. Killed together with us, it leaves that to the
// next start.
class Guardian {
 public:
  // Forks, so call it before the first thread exists. Where that fails, the guardian does nothing.
  static Guardian start();

  // From now on the guardian removes, when we end: the sandboxes of `instance` that carry our owner label, and the
  // directories run_dir/NAME of `names`, which nobody but this run makes. Call it once, before the first of them is
  // made.
  void watch(std::string_view engine_address, std::string_view instance, std::string_view run_dir,
             const std::vector<std::string>& names);

  // The orderly end: everything has been removed.
  void dismiss();

 private:
  UniqueFd pipe_;
};

}  // namespace mcpbox::app
