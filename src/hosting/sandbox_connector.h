// Starts one configured server in a sandbox.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <vector>

#include "base/secret.h"
#include "config/settings.h"
#include "hosting/connector.h"
#include "provision/sandboxed_connector.h"
#include "provision/server_log.h"
#include "provision/server_start.h"

namespace mcpbox::hosting {

// What every server in a sandbox of one instance shares. Outlives their connectors.
struct SandboxContext {
  boost::asio::any_io_executor executor;
  provision::ServerHost host;
  provision::SandboxedConnector connector;
};

class SandboxConnector final : public Connector, public Copies {
 public:
  // `log` gets the server's stderr.
  SandboxConnector(SandboxContext& context, config::ServerSettings settings, Secret egress_token,
                   provision::ServerLog& log);

  Task<Result<std::unique_ptr<Connection>>> connect(ConnectRequest request, provision::StartReport& report) override;
  Copies* copies() override { return this; }
  Task<Result<std::vector<provision::PullOutcome>>> pull(InstanceId id, provision::PullOptions options) override;

 private:
  SandboxContext& context_;
  config::ServerSettings settings_;  // with what the references gave at the newest start
  Secret egress_token_;
  provision::ServerLog& log_;
};

}  // namespace mcpbox::hosting
