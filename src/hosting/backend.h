// Where the servers of a host run: makes what each of them needs below its life cycle.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/connector.h"
#include "net/task.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

struct ServerParts {
  std::unique_ptr<provision::ServerLog> log;  // knows the server's secrets; outlives the connector
  std::unique_ptr<Connector> connector;
  std::string process;  // process id of its shared instance
  std::string network;  // none, allowlist or public
};

// Outlives the servers.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual ServerParts make(const config::ServerSettings& settings) = 0;
  // Once, when the servers are started.
  virtual void start() {}
  // When all servers ended: removes what they shared.
  virtual Task<Result<void>> close() = 0;
};

}  // namespace mcpbox::hosting
