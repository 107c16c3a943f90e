// Where sandboxes come from. One interface, without any engine's words in it; implementations: docker/engine.h,
// native/engine.h; box/engines finds the one to use.
//
// An engine makes, finds, ends and reaches sandboxes whose PID 1 is mcpbox-init; everything about processes goes over
// the supervisor link. Functions
// run on the executor that the engine was made with. A failed call says what the engine said.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/disk_bound.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "sys/path_guard.h"

namespace mcpbox::box {

struct Mount {
  enum class Kind {
    kBind,     // source = absolute host path, which must exist
    kVolume,   // source = volume name; made when missing, kept when the sandbox is removed
    kScratch,  // source empty: a fresh volume that goes with the sandbox
    kMemory,   // source empty: memory file system of `size_bytes`
  };
  Kind kind = Kind::kBind;
  std::string source;
  std::string target;  // absolute inside the sandbox
  bool read_only = true;
  std::uint64_t size_bytes = 0;  // kMemory only; 0 = 64 MiB
  std::uint32_t mode = 0755;     // kMemory only; it belongs to the sandbox's root
  // kBind only: which file or folder was judged. `source` must lead to it, through no link, when it is bound; with
  // another one no sandbox is made (kAborted). Nothing: whatever is there, for what is mcpbox's own.
  std::optional<sys::FileId> judged = std::nullopt;
  bool operator==(const Mount&) const = default;
};

// What PID 1 and its helpers need of a sandbox's processes besides what its servers may have.
inline constexpr std::uint64_t kOwnProcesses = 96;
// Of a sandbox whose servers may have so many; no kernel has more (PID_MAX_LIMIT).
constexpr std::uint64_t with_own_processes(std::uint64_t servers) {
  return std::min<std::uint64_t>(servers + kOwnProcesses, 4'194'304);
}
// The memory of a sandbox whose servers may use `servers` together. PID 1 ends who uses more: what comes on top is for
// PID 1 itself, for cached files, and for what is used before it looks.
constexpr std::uint64_t sandbox_memory(std::uint64_t servers) {
  return servers + servers / 8 + (64ull << 20);
}

struct SandboxLimits {
  std::uint64_t memory_bytes = 1536ull << 20;
  double cpus = 2.0;
  std::uint64_t processes = 512;
  bool operator==(const SandboxLimits&) const = default;
};

// What decides whether two servers can share a sandbox. Equal profiles have equal hashes. None has another network than
// loopback: the way out is a mount (SandboxOptions::egress_dir).
struct SandboxProfile {
  std::string image;  // reference or id; empty where the engine uses the host's own system
  SandboxLimits limits;
  std::vector<Mount> mounts;  // beyond those that every sandbox gets
  bool read_only_root = true;
  std::string hash() const;  // sha256 over a canonical form, lower-case hexadecimal
  bool operator==(const SandboxProfile&) const = default;
};

// What a sandbox is given besides its profile's mounts: what, and not how. How it gets in is for the engine to decide;
// bind_equipment.h is for those that can show folders of the host.
struct Equipment {
  std::string init;         // host path of mcpbox-init, which becomes PID 1
  std::string run_dir;      // host directory of ours, 0700, for what the way to PID 1 needs on the host
  std::string trust_store;  // host path of a PEM file, shown at kCaBundleMount; empty = none
  std::string way_out;      // host directory of ours, 0700, of the egress proxy's socket (base/way_out.h); empty = none
  std::string cache;        // volume, shown at kCacheMount; empty = none
  bool cache_writable = false;
  std::string work_space;  // volume, shown at kWorkspaceMount; empty = one that goes with the sandbox
  // Of the control directory's name (bind_equipment.h); empty = a new one is drawn. Not hashed.
  std::string control_nonce;
  bool operator==(const Equipment&) const = default;
};

struct SandboxSpec {
  std::string name;  // [a-z0-9-]{1,63}, unique on the engine
  SandboxProfile profile;
  std::map<std::string, std::string> labels;  // io.mcpbox.*; the engine adds io.mcpbox.managed=1 and kProfileLabel
  std::optional<Equipment> equipment;         // nothing: what init_argv names is PID 1, and cannot be dialled
  std::vector<std::string> init_argv;         // PID 1 and its arguments; filled in by the engine from the equipment
  bool one_server = false;                    // its limits are that server's: none below them is needed
  bool remove_on_exit = false;                // the engine removes it, with its scratch volumes, when PID 1 ends
  // Of everything that a later controller must find as it would have made it; not of the name.
  std::string hash() const;
};

// The hash of what the sandbox was made from.
inline constexpr const char* kProfileLabel = "io.mcpbox.profile";

struct SandboxState {
  std::string id;  // the engine's full id
  std::string name;
  std::map<std::string, std::string> labels;
  bool running = false;
  std::optional<int> exit_code;
  bool killed_for_memory = false;
};

// The user ids that managed processes can have in an engine's sandboxes; as group ids too. The default is far from what
// distributions hand out and ends below 2^31, where some programs see negative numbers.
struct UidRange {
  std::uint32_t first = 1'900'000'000;
  std::uint32_t count = 233'000'000;
  bool operator==(const UidRange&) const = default;
};

// Programs of the host outside its system that sandboxes of the host's own system show as well: nvm's node, pyenv's
// python3.
struct HostTools {
  std::vector<std::string> path;     // directories for PATH, before those of the system
  std::vector<std::string> folders;  // what processes may read and run
  bool operator==(const HostTools&) const = default;
};

// What is different between engines, for those above them: none of them asks for an engine's name.
struct EngineTraits {
  bool passes_descriptors = true;  // processes' pipes come over the link as descriptors
  bool binds_host_folders = true;  // Mount::Kind::kBind works
  bool has_images = true;          // there is an image store: pull() works, and the runner image is used by default
  bool one_server_per_sandbox = false;  // servers would not be kept apart in a common one
  UidRange uids;
  HostTools tools;
};

inline constexpr std::string_view kDiskWalk = "held by a walk of its folders, tenths of a second after it wrote";

struct EngineInfo {
  std::string kind;         // as people call it, and part of what is written down: "docker"
  std::string summary;      // for people, on a line: "docker 20.10.24 at unix:///var/run/docker.sock"
  std::string version;      // "20.10.24"
  std::string api_version;  // negotiated, "1.41"
  std::string address;      // "unix:///var/run/docker.sock"
  std::string operating_system;
  bool rootless = false;
  bool user_namespace = false;  // container ids are remapped
  int cgroup_version = 1;
  EngineTraits traits;
  std::string disk_limits = std::string(kDiskWalk);  // what holds those of a server, for people
  std::vector<std::string> warnings;
};

struct ImageInfo {
  std::string id;  // sha256:…
  std::vector<std::string> tags;
  std::uint64_t size_bytes = 0;
  std::int64_t created_unix = 0;
};

using Labels = std::map<std::string, std::string>;

// What servers have of their own in the sandbox (init/spaces.h): "all" their namespaces, all "without-proc", or "none".
// Without this label: all.
inline constexpr const char* kSpacesLabel = "io.mcpbox.spaces";

// The label of sandboxes that must not outlive the process that made them: sys::own_process() of that one.
inline constexpr const char* kOwnerLabel = "io.mcpbox.owner";
using Progress = std::function<void(std::string_view line)>;

class Engine {
 public:
  virtual ~Engine() = default;

  // Asks the engine who it is; kUnavailable with a hint when none answers.
  virtual Task<Result<EngineInfo>> probe() = 0;

  // Makes and starts a sandbox and compares what the engine made with what was asked: a difference removes it again and
  // fails.
  virtual Task<Result<SandboxState>> create(SandboxSpec spec) = 0;
  virtual Task<Result<SandboxState>> inspect(std::string id) = 0;
  virtual Task<Result<std::vector<SandboxState>>> list(Labels labels) = 0;  // all states; every label must match
  // Kills, removes with its scratch volumes, and returns when it is gone; not there is success.
  virtual Task<Result<void>> remove(std::string id) = 0;

  // The link to PID 1 of a running sandbox, once it answers. The state is create()'s or list()'s. kTimeout when nobody
  // answers; a second controller takes over. What only reaching it needed is gone from the host when the sandbox has
  // remove_on_exit.
  virtual Task<Result<std::unique_ptr<Supervisor>>> dial(SandboxState state, std::chrono::milliseconds timeout) = 0;

  // What is written into these folders of a running sandbox, held within bounds by their file system. Null where it
  // holds none, or not for this engine; an error says why it does not although it could.
  virtual Task<Result<std::shared_ptr<DiskBound>>> bound_disk(DiskShare) { co_return std::shared_ptr<DiskBound>(); }
  // Of a running sandbox. The error says why servers have no groups there, for people: they are served all the same.
  virtual Task<Result<GroupOfServers>> group_of_servers(SandboxState state) = 0;

  virtual Task<Result<void>> ensure_volume(std::string name, Labels labels) = 0;
  virtual Task<Result<std::vector<std::string>>> list_volumes(Labels labels) = 0;
  virtual Task<Result<void>> remove_volume(std::string name) = 0;  // not there is success

  virtual Task<Result<ImageInfo>> image(std::string reference) = 0;  // kNotFound when the engine does not have it
  virtual Task<Result<std::vector<ImageInfo>>> images(Labels labels) = 0;
  virtual Task<Result<ImageInfo>> pull(std::string reference, Progress progress) = 0;
};

}  // namespace mcpbox::box
