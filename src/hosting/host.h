// All servers of one configuration: the engine, the sandboxes that they share, and their common start and end.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "config/settings.h"
#include "hosting/hosted_server.h"
#include "net/task.h"
#include "net/task_group.h"

namespace mcpbox::hosting {

struct HostOptions {
  config::Settings settings;
  std::string instance;
  std::string init_path;
  std::string run_dir;
  std::string image;      // engine id of the image for servers that name none
  std::string ca_bundle;  // host path; empty = none
  provision::PlanPolicy policy;
  box::UidRange uids;     // EngineInfo::uids
  box::HostTools tools;   // EngineInfo::tools
  std::string state_dir;  // of the instance; what is noted of environments and of staged copies is kept there. Empty =
                          // nothing is
  std::string engine;     // EngineInfo::kind
  bool one_server_per_sandbox = false;  // EngineInfo
  egress::EgressService* egress =
      nullptr;  // outlives the host; null: no server has a way out, and nothing can be installed from a registry
};

// The name of the volume with the environments of this instance.
std::string cache_volume(const std::string& instance);

class Host {
 public:
  Host(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, HostOptions options);
  ~Host();

  // Starts every enabled server; returns at once, settle() waits.
  void start();
  // Stops every server and removes their sandboxes.
  Task<Result<void>> stop();

  const std::vector<std::unique_ptr<HostedServer>>& servers() const { return servers_; }
  // kNotFound with the names that there are.
  Result<HostedServer*> find(const std::string& name);
  // Waits until every server is connected, stopped or failed for good.
  Task<void> settle(std::chrono::steady_clock::time_point deadline);

 private:
  Task<void> run_server(HostedServer& server);
  Task<void> tell_loss(std::shared_ptr<provision::SharedSandbox> sandbox);

  net::TaskGroup tasks_;
  provision::SandboxPool sandboxes_;
  provision::Installer installer_;
  HostContext context_;
  std::vector<std::unique_ptr<HostedServer>> servers_;
};

// For `mcpbox down` without a daemon: removes every sandbox of the instance.
struct Removed {
  unsigned sandboxes = 0;
  unsigned volumes = 0;
};
// Without `volumes` the installed dependencies stay, and the work spaces with what servers changed in their copies.
Task<Result<Removed>> remove_everything(box::Engine& engine, const std::string& instance, bool volumes);

}  // namespace mcpbox::hosting
