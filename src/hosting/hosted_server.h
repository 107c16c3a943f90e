// One MCP server as a whole: prepare, start, watch, retry, call, stop.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/lifecycle.h"
#include "hosting/mcp_driver.h"
#include "hosting/retry_budget.h"
#include "hosting/server_state.h"
#include "net/task.h"
#include "net/wait.h"
#include "provision/sandboxed_connector.h"
#include "provision/server_log.h"
#include "provision/server_start.h"
#include "provision/stage/pull.h"

namespace mcpbox::hosting {

// What every server of a host shares. Outlives the servers.
struct HostContext {
  boost::asio::any_io_executor executor;
  provision::ServerHost host;
  provision::SandboxedConnector connector;
};

// A copy of what there is to see, for tables and JSON.
struct ServerView {
  std::string name;
  ServerState state = ServerState::kStopped;
  provision::Phase phase = provision::Phase::kNone;  // of the attempt that runs, or in which it failed
  std::string error;                                 // for people; empty when all is well
  std::string sandbox;                               // the sandbox's name on the engine
  std::string process;                               // process id
  pid_t pid = 0;
  uid_t uid = 0;
  unsigned restarts = 0;  // since the daemon started
  std::size_t tool_count = 0;
  std::string server_name, server_version, protocol_version;
  std::string environment;        // hash of the installed environment that it uses or used last; empty = none
  std::string packages;           // what is in it, in short
  std::string network;            // none, allowlist or public
  std::vector<PhaseTime> phases;  // of the newest attempt
  std::chrono::milliseconds uptime{0};
};

class HostedServer {
 public:
  HostedServer(HostContext& context, config::ServerSettings settings);
  ~HostedServer();

  // The life cycle; ends after request_shut_down(), with the process gone.
  Task<void> run();
  void request_shut_down();

  void request_stop();
  void request_restart(bool fresh);
  // Returns when the server is connected, or failed for good, or was stopped, or the time is up.
  Task<void> settle(std::chrono::steady_clock::time_point deadline);

  // kFailedPrecondition when it is not connected (the message says why), kUnavailable with how it died when it dies
  // meanwhile; never executed a second time by itself.
  Task<Result<mcp::CallReply>> call_tool(std::string tool, std::string arguments_json);
  Result<std::vector<mcp::Tool>> tools() const;

  // Brings what the server changed in its writable copies back to this host (pull.h). Works in every state; opens the
  // sandbox if need be.
  Task<Result<std::vector<provision::PullOutcome>>> pull(provision::PullOptions options);

  ServerView view() const;
  provision::ServerLog& log() { return log_; }
  net::Signal& changed() { return changed_; }
  const std::string& name() const { return settings_.name; }

 private:
  struct Running;  // a started process with its driver
  struct Report;

  Task<Result<void>> attempt();
  Task<void> start_into(std::optional<Result<std::unique_ptr<Running>>>& out, bool& over);
  Task<Result<std::unique_ptr<Running>>> start();
  Task<Result<void>> serve(Running& running);
  Task<void> drain(Running& running);
  Task<void> finish(std::unique_ptr<Running> running, Error reason);
  void enter(ServerState state, provision::Phase phase);
  void close_phase();
  std::string not_connected() const;
  Error death_of(const Running& running) const;
  bool asked() const { return stop_wanted_ || restart_wanted_ || shut_down_wanted_; }

  HostContext& context_;
  config::ServerSettings settings_;
  std::string process_id_;
  Secret egress_token_ = egress::egress_token();
  provision::ServerLog log_;
  net::Signal changed_;
  RetryBudget budget_;

  ServerState state_ = ServerState::kStopped;
  provision::Phase phase_ = provision::Phase::kNone;
  std::optional<Error> error_;
  std::vector<PhaseTime> phases_;
  std::chrono::steady_clock::time_point phase_began_;
  std::optional<std::chrono::steady_clock::time_point> connected_since_;
  unsigned starts_ = 0;
  std::string environment_;
  std::string packages_;
  bool stop_wanted_ = false;
  bool restart_wanted_ = false;
  bool shut_down_wanted_ = false;
  bool fresh_ = false;
  std::uint64_t attempt_log_start_ = 0;
  std::unique_ptr<Running> running_;
};

}  // namespace mcpbox::hosting
