// A sandbox in use: made or adopted, with its supervisor connected.
//
// It is shared by every server with the same profile. It outlives the daemon: its sandbox goes on, and the next
// daemon adopts it when instance, name and profile hash agree; otherwise the old sandbox is removed and a new one made.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "box/link/supervisor.h"
#include "box/places.h"
#include "net/task.h"

namespace mcpbox::box {

struct SandboxOptions {
  std::string instance;  // 32 hexadecimal digits; two instances on one engine never touch each other's sandboxes
  std::string name;      // "[a-z0-9-]{1,40}" within the instance: "shared", "files"
  SandboxProfile profile;
  std::string init_path;  // host path of mcpbox-init
  std::string run_dir;    // host directory of ours, 0700, below which the control directory is made
  // Of the control directory's name, for who must know it before (control_directory_name()); empty = one is drawn.
  std::string control_nonce;
  std::string ca_bundle;  // host path, mounted read-only at kCaBundleMount; empty = none
  // Host directory of this user, 0700, in which the egress proxy listens on kEgressSocket; empty = the sandbox has no
  // way out. It has to stay the same directory as long as the sandbox lives; the socket in it may be made anew.
  std::string egress_dir;
  std::string cache_volume;  // mounted at kCacheMount; empty = none
  bool cache_writable = false;
  std::string workspace_volume;  // mounted at kWorkspaceMount; empty = a scratch volume that goes with the sandbox
  UidRange uids;                 // EngineTraits::uids; managed processes have ids from it
  HostTools tools;               // EngineTraits::tools; emptied when the profile's image is not the host's own system
  // The sandbox ends with this controller, also when it is killed; nothing of it can be adopted. It is labelled with
  // this process as its owner (kOwnerLabel).
  bool ephemeral = false;
  bool alone = false;  // one server has it to itself: ProcessSpec::alone
  Labels labels;
  std::chrono::milliseconds connect_timeout{20'000};
};

class Sandbox {
 public:
  // Nothing runs in it yet, unless it was adopted, and it shows the very folders that were judged (judged_mounts.h).
  // kAlreadyExists: an ephemeral sandbox of that name is in use by another controller. Cancelled, it leaves no sandbox
  // that it made.
  static Task<Result<std::unique_ptr<Sandbox>>> open(Engine& engine, SandboxOptions options);
  // One that somebody else made and connected to.
  static std::unique_ptr<Sandbox> over(Engine& engine, SandboxOptions options, SandboxState state,
                                       std::unique_ptr<Supervisor> supervisor);

  Supervisor& supervisor() { return *supervisor_; }
  const SandboxState& state() const { return state_; }
  const SandboxOptions& options() const { return options_; }
  bool adopted() const { return adopted_; }
  // The value of kSpacesLabel.
  std::string spaces() const;

  // Engine::bound_disk() for these folders of it.
  Task<Result<std::shared_ptr<DiskBound>>> bound_disk(std::vector<std::string> folders, uid_t owner);

  // Why servers that share it have no control groups of their own to share the processors out, in words; empty: they
  // have. Nobody asks for one server alone.
  const std::string& no_groups() const { return no_groups_; }

  // Why the sandbox is gone, in words, by asking the engine: "killed for memory", "removed from outside".
  Task<std::string> describe_loss();
  // Ends PID 1 and removes the sandbox and its control directory.
  Task<Result<void>> close();

  // The name on the engine: "mcpbox-<first 8 of instance>-<name>".
  static std::string sandbox_name(const SandboxOptions& options);

 private:
  Sandbox(Engine& engine, SandboxOptions options) : engine_(engine), options_(std::move(options)) {}
  Task<Result<void>> make(SandboxSpec spec);
  Task<Result<void>> connect();
  Task<Result<void>> give_group();

  Engine& engine_;
  SandboxOptions options_;
  SandboxState state_;
  std::unique_ptr<Supervisor> supervisor_;
  std::string no_groups_;
  bool adopted_ = false;
};

// What the names of an instance's sandboxes and volumes begin with.
std::string name_prefix(const std::string& instance);
// Labels that every sandbox of this instance carries.
Labels instance_labels(const std::string& instance);

}  // namespace mcpbox::box
