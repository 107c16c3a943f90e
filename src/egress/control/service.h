// Owns the egress proxy of one daemon or one `mcpbox run`: starts it, starts it again when it ends, and tells it who
// may reach what.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "egress/control/codec.h"
#include "egress/control/egress_process.h"
#include "net/task.h"

namespace mcpbox::egress {

struct EgressServiceOptions {
  std::string directory;  // holds the socket and nothing else; made 0700. Kept by stop(): sandboxes that live on have
                          // it mounted
  std::string audit_directory;  // made 0700 by the proxy
  NetworkText network;
  std::string program = "/proc/self/exe";  // what is started as `PROGRAM egress serve …`
  bool one_server_per_sandbox = false;     // EngineTraits: the relay sees every process of such a sandbox as uid 0
};

// Who asks, and by what it is known to the proxy.
struct EgressClient {
  std::string process;  // unique in one service: provision::process_id, or install_process()
  std::string server;   // for the audit and messages
  uid_t uid = 0;        // inside the sandbox
  std::string sandbox;  // whose name mcpbox-init has (Sandbox::state().name): from no other one is it let through
  Phase phase = Phase::kRun;
  Secret token;  // egress_token(); whoever prints what the process prints takes it out
  PolicyText policy;
  // What it may not write into the audit by asking for it. Those that no host name can have in it are left out.
  std::vector<Secret> secrets;
};

// The credential of one process: 32 hexadecimal digits.
Secret egress_token();

// The id under which the installation of an environment is known to the proxy.
std::string install_process(std::string_view hash);

// The registration of one process; it ends with this. May outlive the service.
class EgressGrant {
 public:
  ~EgressGrant();
  EgressGrant(const EgressGrant&) = delete;
  EgressGrant& operator=(const EgressGrant&) = delete;

  // http://PROCESS:TOKEN@127.0.0.1:3128, for the proxy variables of the process. A secret.
  const Secret& proxy_url() const { return proxy_url_; }

 private:
  friend class EgressService;
  EgressGrant() = default;
  std::weak_ptr<struct EgressState> state_;
  std::string process_;
  std::uint64_t generation_ = 0;
  Secret proxy_url_;
};

// Lives on one executor that one thread runs.
class EgressService {
 public:
  // Checks the settings (kInvalidArgument) and the directory, and starts the proxy. Returns before the proxy answers.
  static Result<std::unique_ptr<EgressService>> start(boost::asio::any_io_executor executor,
                                                      EgressServiceOptions options);
  ~EgressService();
  EgressService(const EgressService&) = delete;
  EgressService& operator=(const EgressService&) = delete;

  // Returns when the proxy knows the process; a grant of the same process is replaced. kInvalidArgument for a policy
  // that cannot be read, kUnavailable when the proxy cannot be started (it is tried again meanwhile), at most 10 s.
  Task<Result<std::shared_ptr<EgressGrant>>> grant(EgressClient client);

  // For box::SandboxOptions::egress_dir.
  const std::string& directory() const;
  // Where the proxy writes what it decided.
  const std::string& audit_directory() const;
  // Ends the proxy. The directory stays.
  Task<void> stop();
  // 0 while there is none.
  pid_t pid() const;

 private:
  explicit EgressService(std::shared_ptr<EgressState> state);
  std::shared_ptr<EgressState> state_;
};

}  // namespace mcpbox::egress
