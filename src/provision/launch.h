// From a plan to a process that can be spawned: install, make its tree, stage its roots, say what it may touch.
#pragma once

#include <sys/types.h>

#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/sandbox.h"
#include "config/settings.h"
#include "net/task.h"
#include "provision/install/installer.h"
#include "provision/phase.h"
#include "provision/stage/copies.h"
#include "provision/uid_book.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

struct LaunchInputs {
  std::string server;      // name, for messages
  std::string process_id;  // instance_id.h
  uid_t uid = 0;
  gid_t gid = 0;
  ServerUids uids;  // of the book; `uid` is another where a mounted folder decides
  workspace::Plan plan;
  std::map<std::string, Secret> env;  // the server's own variables, secrets among them; plan.env wins over it
  StagePolicy policy;
  box::ServerLimits limits;  // of the server, and of what is installed for it
  std::chrono::seconds timeout{300};
  bool restage = false;           // also what the server may have changed
  bool one_id = false;            // every id in the sandbox is the same (EngineTraits::one_server_per_sandbox)
  std::string manifest_dir;       // on the host: what staged copies were made of; empty = every start copies everything
  config::ServerNetwork network;  // install_allow is for the installation
  Secret proxy_url;               // egress::EgressGrant::proxy_url of this process; empty = it has no way out
  std::function<void(Phase)> on_phase;                     // may be empty
  std::function<void(std::string_view line)> on_progress;  // may be empty
};

struct Launch {
  box::ProcessSpec process;
  bool installed = false;                           // a new environment was made
  std::shared_ptr<box::DiskBound> disk;             // may be empty
  std::optional<InstalledEnvironment> environment;  // keep its `hold` as long as the process lives
  std::uint64_t staged_entries = 0;
  std::uint64_t staged_bytes = 0;
  std::vector<std::string> notes;  // what was skipped or kept, for the server's log
  std::vector<std::string> told;   // the same of keys and credentials, for whoever started it
};

// The directory of a managed process in its sandbox: home, tmp and staged workspace are below it.
std::string process_tree(const std::string& process_id);

// Where the server's copies are, and whose.
GenerationPlace place_of(const LaunchInputs& inputs);

// Sets on_phase to the phase in which an error happened.
Task<Result<Launch>> prepare_launch(box::Sandbox& sandbox, Installer& installer, boost::asio::thread_pool& pool,
                                    LaunchInputs inputs);

// The mounts that a plan's roots need beyond the workspace: bind mounts, and scratch volumes for copies outside it.
std::vector<box::Mount> mounts_for(const workspace::Plan& plan);

// The user as which a server with this plan runs: the owner of a bound folder, never root; else `own`.
// kPermissionDenied for a folder of root's that is to be written.
Result<std::pair<uid_t, gid_t>> user_for(const workspace::Plan& plan, uid_t own);

}  // namespace mcpbox::provision
