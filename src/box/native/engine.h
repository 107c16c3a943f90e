// Engine without an engine: sandboxes are namespaces that mcpbox-init makes by itself (init/build.h). Linux ≥ 5.12.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

struct NativeOptions {
  std::string state_dir;  // ours, 0700; sandboxes and volumes live in its folder "native"
  std::string init_path;  // mcpbox-init on the host
  std::string cgroup_root = "/sys/fs/cgroup";
  // Host paths without links and where they are shown, read-only, with the host's own system.
  std::vector<std::pair<std::string, std::string>> tools;
  std::vector<std::string> tool_path;  // EngineTraits::tools
  bool only_one_id = false;            // as if an ordinary user had no newuidmap(1) (native_ids.h); for tests
};

// Images are host folders: "" and "host" mean the host's own system, an absolute path a rootfs directory. What needs an
// image store (pull) is refused with kUnsupported.
std::unique_ptr<Engine> make_native_engine(boost::asio::any_io_executor executor, NativeOptions options);

}  // namespace mcpbox::box
