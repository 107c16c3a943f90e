// From a plan to a process in a sandbox, with everything that it needs as long as it lives: for the daemon and for
// `mcpbox run`.
#pragma once

#include <sys/types.h>

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "box/process.h"
#include "box/sandbox.h"
#include "config/settings.h"
#include "egress/control/service.h"
#include "net/task.h"
#include "net/wait.h"
#include "provision/install/installer.h"
#include "provision/publish/published_ports.h"
#include "provision/sandbox_pool.h"
#include "provision/stage/pull.h"
#include "provision/stage/stager.h"
#include "provision/start_report.h"
#include "provision/uid_book.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// What one start is made of. Nothing in it has an effect before start().
struct SandboxedStart {
  std::string server;      // for messages and the egress proxy's audit
  std::string process_id;  // instance_id.h
  workspace::Plan plan;    // one that refuses something is kPermissionDenied
  ServerUids uids;
  std::shared_ptr<UidHold> uid_hold;  // given back when the process is gone; may be empty
  box::SandboxOptions sandbox;        // with mounts_for(plan)
  config::ServerNetwork network;
  std::map<std::string, Secret> env;  // the server's own variables; those of the plan win
  std::vector<Secret> secrets;        // among them, or elsewhere in what it is started with
  Secret egress_token;                // egress::egress_token()
  StagePolicy policy;
  std::chrono::seconds timeout{300};  // for the installation, and for each folder
  bool fresh = false;                 // drops what the server wrote: into its copies, home, temporary files
  int nice = 5;
  std::vector<std::string> accept_degraded;  // degraded.h
  box::ServerLimits limits;                  // its folders are added by the launch; an installation has the same
  std::vector<config::PublishedPort> ports;  // open from before the sandbox is made until the process has ended
  // Hears what is to be said of them later, as long as the process lives; may be empty.
  PublishedPorts::Tell tell_later;
  // What the process gets as stdin, stdout and stderr instead of pipes.
  std::optional<std::array<int, 3>> stdio;
};

struct SandboxLost {
  std::string how;  // in words
};

// A started process and its sandbox. Lives on one loop. Destroyed before stop() has returned, it is killed and
// forgotten by a task of the pool, and what it held is given back then; a start of the same waits for that.
class SandboxedProcess {
 public:
  using End = std::variant<box::ProcessExit, SandboxLost>;
  struct Grace {  // stdio transport, "Shutdown"; the waits are those of the official SDKs
    std::chrono::milliseconds after_stdin{2000};
    std::chrono::milliseconds after_term{2000};
  };

  ~SandboxedProcess();
  SandboxedProcess(const SandboxedProcess&) = delete;
  SandboxedProcess& operator=(const SandboxedProcess&) = delete;

  box::ProcessPipes take_pipes() { return std::move(pipes_); }  // once; none with SandboxedStart::stdio
  pid_t pid() const { return pid_; }
  uid_t uid() const { return uid_; }
  const std::string& program() const { return program_; }
  const std::string& server() const { return server_; }                                // SandboxedStart::server
  const std::string& sandbox_name() const { return sandbox_name_; }                    // on the engine
  const std::optional<EnvRecord>& environment() const { return environment_record_; }  // that it uses
  const std::optional<End>& ended() const { return ended_; }
  // A sentence about how it ended. Where it may have few processes and failed, that too: the kernel refuses one more
  // without a word, and programs say what they like then.
  std::string sentence(const box::ProcessExit& exit) const;
  // Its sandbox is gone, and how is being found out: SandboxLost follows.
  bool losing() const { return !ended_ && holds_.sandbox && holds_.sandbox->broken(); }
  net::Signal& changed() { return changed_; }  // when ended() changes
  // Called then too; until it is replaced.
  void on_change(std::function<void()> handler) { on_change_ = std::move(handler); }

  // Drops PID 1's duplicate of stdin's write end; with the caller's closed too, the server sees end of file.
  // `ending`: Supervisor::close_stdin().
  Task<void> close_stdin(bool ending = false);
  // Closes stdin, waits, SIGTERM, waits, then SIGKILL for everything of the user id until none is left. Returns with
  // the process forgotten and everything given back, save what SharedSandbox::kill() keeps. May be called in any state.
  Task<void> stop(Grace grace);
  Task<void> stop() { return stop(Grace()); }

 private:
  friend class SandboxedConnector;
  // What has to outlive the process.
  struct Holds {
    std::shared_ptr<UidHold> uids;
    SandboxPool::Lease sandbox;
    std::shared_ptr<EnvHold> environment;
    std::shared_ptr<egress::EgressGrant> egress;
    std::unique_ptr<PublishedPorts> ports;
    std::unique_ptr<SharedSandbox::Ending> ending;

    // What survivors of the process keep.
    SharedSandbox::Held held() const { return {uids, environment}; }
  };
  SandboxedProcess(boost::asio::any_io_executor executor, SandboxPool& pool, std::string process_id, uid_t uid);
  box::Supervisor& supervisor() { return holds_.sandbox->sandbox().supervisor(); }
  bool lost() const { return ended_ && std::holds_alternative<SandboxLost>(*ended_); }
  Task<void> wait_until(std::chrono::steady_clock::time_point deadline);
  static Task<void> end(Holds holds, std::string process_id, uid_t uid);

  SandboxPool& pool_;
  net::Signal changed_;
  std::string process_id_;
  uid_t uid_;
  pid_t pid_ = 0;
  std::string server_, program_, sandbox_name_;
  std::uint64_t processes_ = 0;  // and threads that it may have; 0: no limit of its own
  std::optional<EnvRecord> environment_record_;
  box::ProcessPipes pipes_;
  bool may_live_ = false;  // it was asked for
  std::optional<End> ended_;
  std::function<void()> on_change_;
  Holds holds_;
};

// Refers to things that outlive it and every process that it starts.
class SandboxedConnector {
 public:
  struct Context {
    boost::asio::any_io_executor executor;
    boost::asio::thread_pool& pool;
    SandboxPool& sandboxes;
    Installer& installer;
    egress::EgressService* egress = nullptr;  // null: no server has a way out
    std::string manifest_dir;                 // LaunchInputs::manifest_dir
    bool one_server_per_sandbox = false;      // EngineTraits
  };
  explicit SandboxedConnector(Context context) : context_(std::move(context)) {}

  // The phases are those from kSessionCreate to kProcessStart; a program that is not there is kNotFound in the last. A
  // start that fails or is cancelled leaves nothing behind: what it began ends in the background, and the next start of
  // the same waits for that.
  Task<Result<std::unique_ptr<SandboxedProcess>>> start(SandboxedStart start, StartReport& report);

  // What the server changed in its copies, back to the host; whether it runs or not. A sandbox that is opened for that
  // is closed again.
  Task<Result<std::vector<PullOutcome>>> pull(SandboxedStart start, PullOptions options);

 private:
  Context context_;
};

}  // namespace mcpbox::provision
