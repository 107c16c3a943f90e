// Servers in sandboxes of one engine: the sandboxes that they share, the installer, and what an instance leaves there.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "config/settings.h"
#include "hosting/backend.h"
#include "hosting/sandbox_connector.h"
#include "net/task.h"
#include "net/task_group.h"

namespace mcpbox::hosting {

struct SandboxBackendOptions {
  config::BoxSettings box;  // limits, and how is installed
  std::string instance;
  std::string init_path;
  std::string run_dir;
  std::string image;      // engine id of the image for servers that name none
  std::string ca_bundle;  // host path; empty = none
  provision::PlanPolicy policy;
  box::UidRange uids;     // EngineTraits::uids
  box::HostTools tools;   // EngineTraits::tools
  std::string state_dir;  // of the instance; what is noted of environments and of staged copies is kept there. Empty =
                          // nothing is
  std::string engine;     // EngineInfo::kind
  bool one_server_per_sandbox = false;  // EngineTraits
  egress::EgressService* egress =
      nullptr;  // outlives the host; null: no server has a way out, and nothing can be installed from a registry
};

class SandboxBackend final : public Backend {
 public:
  SandboxBackend(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                 SandboxBackendOptions options);

  ServerParts make(const config::ServerSettings& settings) override;
  // Removes, after a while, what earlier daemons of the instance left and nobody asked for.
  void start() override;
  // Removes the sandboxes.
  Task<Result<void>> close() override;

 private:
  Task<void> tell_loss(std::shared_ptr<provision::SharedSandbox> sandbox);

  net::TaskGroup tasks_;
  provision::SandboxPool sandboxes_;
  provision::Installer installer_;
  SandboxContext context_;
};

// The name of the volume with the environments of this instance.
std::string cache_volume(const std::string& instance);

// For `mcpbox down` after the daemon: removes every sandbox of the instance that no live process has made for itself,
// as `mcpbox run` does.
struct Removed {
  unsigned sandboxes = 0;
  unsigned volumes = 0;
  std::vector<std::string> left;          // sandboxes whose owner lives: "NAME (process PID)"
  std::vector<std::string> left_volumes;  // that these use
};
// Without `volumes` the installed dependencies stay, and the work spaces with what servers changed in their copies.
Task<Result<Removed>> remove_everything(box::Engine& engine, const std::string& instance, bool volumes);

}  // namespace mcpbox::hosting
