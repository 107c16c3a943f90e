// The tree of a native sandbox, as a list of what mcpbox-init puts where. Looks at the host's tree, changes nothing.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box {

struct NativeLayout {
  std::vector<wire::BuildNode> nodes;
  std::vector<std::string> scratch;  // names of scratch directories, below the sandbox's own
  std::vector<std::string> volumes;  // names of volumes that it uses
};

struct NativePlaces {
  std::string rootfs;     // absolute directory; empty = the host's own system
  std::string directory;  // of the sandbox: scratch directories are <directory>/scratch/N
  std::string volumes;    // a volume is <volumes>/NAME/data
  std::vector<std::pair<std::string, std::string>> tools = {};  // NativeOptions::tools
};

// From the host's system: /usr, /bin, /sbin, /lib* and the few files of /etc that programs need, read-only. Never
// /home, /root, /var, /run, /srv, /sys, /opt; passwd, group, hosts, resolv.conf and nsswitch.conf are written new. From
// a rootfs directory: all of it but /dev, /proc, /sys, /tmp and /run. Then the mounts of the profile; a
// judged one (Mount::judged) is not looked at here. kNotFound names a bind source that is not there.
Result<NativeLayout> native_layout(const SandboxSpec& spec, const NativePlaces& places);

}  // namespace mcpbox::box
