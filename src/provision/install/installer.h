// Makes the environment that a plan asks for: once per content hash, in a sandbox of its own, without the servers'
// secrets.
//
// The result is read-only under /cache/env/<hash>/env and complete when /cache/env/<hash>/complete exists, a file of
// PID 1. Several mcpbox processes that need the same hash wait for each other: the installer sandbox's name is the
// lock.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/redact.h"
#include "base/result.h"
#include "box/engine.h"
#include "box/sandbox.h"
#include "config/settings.h"
#include "egress/control/service.h"
#include "net/task.h"
#include "net/wait.h"
#include "provision/install/env_ledger.h"
#include "provision/install/env_record.h"
#include "provision/stage/stager.h"
#include "provision/uid_book.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// From where an installation may take what it installs when the environment is not there yet. That only pinned things
// are installed ("locked") is the planner's business: workspace::Policy::locked.
struct OfflineSources {
  bool offline = false;    // no network at all
  std::string wheelhouse;  // host folder of wheels; empty = none
  std::string npm_cache;   // host folder, an npm cache (with _cacache); empty = none
};

struct InstallerOptions {
  box::SandboxOptions sandbox;  // instance, init_path, run_dir, ca_bundle, cache_volume, egress_dir; name is set here
  std::map<std::string, Secret> env;  // box.install_env: PIP_INDEX_URL …
  Redactor redact;                    // knows the secrets of `env`: no line of an installation shows them
  egress::EgressService* egress =
      nullptr;  // through which installations reach registries; outlives the installer. Null: they reach nothing
  StagePolicy policy;
  UidBook uids;                   // as whom installations run
  std::string state_dir;          // of the instance: the ledger; empty = nothing is noted
  std::string engine;             // EngineInfo::kind, for the record
  std::uint64_t quota_bytes = 0;  // of all environments together, enforced after an installation; 0 = none
  OfflineSources sources;
};

struct InstallRequest {
  std::string subject;            // server name, for messages
  workspace::Plan plan;           // with `install`
  config::ServerNetwork network;  // install_allow
  std::chrono::seconds timeout{300};
  box::ServerLimits limits;                             // of the server that it is for; without folders
  std::function<void(std::string_view line)> progress;  // a line per step and per line of output; may be empty
};

struct InstalledEnvironment {
  EnvRecord record;  // record.program: executable to start instead of argv[0]; empty = argv as planned
  bool from_cache = false;
  std::shared_ptr<EnvHold> hold;  // as long as it lives, the environment is not removed
};

class Installer {
 public:
  Installer(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
            InstallerOptions options);

  // `reader` is any sandbox that mounts the cache. Errors name the step, its exit code, the last lines that matter, and
  // what to do. kAborted: the folders changed since they were planned, and nothing was run: a new plan helps.
  Task<Result<InstalledEnvironment>> ensure(box::Supervisor& reader, InstallRequest request);

  // What environments are named after besides their plans (install_origin.h): for workspace::Policy.
  std::vector<std::string> origin() const;

  const EnvLedger& ledger() const { return ledger_; }
  const UidBook& uids() const { return options_.uids; }

  // The sandbox in which this would be installed; one at a time on an engine.
  static std::string sandbox_name(const std::string& instance, const workspace::InstallPlan& plan);

 private:
  Task<Result<InstalledEnvironment>> read_complete(box::Supervisor& reader, const workspace::InstallPlan& plan);
  Task<Result<void>> install(const InstallRequest& request);
  // A process that was killed between making and starting its sandbox would hold the name for ever. True when it was
  // removed.
  Task<bool> remove_abandoned(const box::SandboxOptions& options);
  Task<Result<std::shared_ptr<EnvHold>>> hold(const InstallRequest& request);
  // In this sandbox, which may write the cache.
  Task<Result<void>> run_in(box::Sandbox& sandbox, const InstallRequest& request,
                            std::chrono::steady_clock::time_point deadline);

  box::Engine& engine_;
  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool& pool_;
  InstallerOptions options_;
  EnvLedger ledger_;
  net::Signal finished_;
  std::map<std::string, int> running_;  // hashes that this process installs now
};

}  // namespace mcpbox::provision
