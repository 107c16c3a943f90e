#include "hosting/server_modes.h"

#include <cstddef>
#include <utility>

#include "base/secrets.h"
#include "provision/egress_policy.h"
#include "provision/instance_id.h"

namespace mcpbox::hosting {
namespace {

ServerParts make_sandboxed(SandboxContext& context, const config::ServerSettings& settings) {
  ServerParts parts;
  Secret token = egress::egress_token();
  keep_secret(token);
  parts.log = std::make_unique<provision::ServerLog>(context.executor, provision::redactor_for(settings, token));
  parts.connector = std::make_unique<SandboxConnector>(context, settings, std::move(token), *parts.log);
  parts.process = provision::process_id({settings.name, ""});
  parts.network = provision::network_mode_name(settings.box.network.mode);
  return parts;
}

// In the order of config::Mode.
constexpr ServerMode kModes[] = {{provision::plan_server, make_sandboxed}};

}  // namespace

const ServerMode& server_mode(config::Mode mode) {
  return kModes[static_cast<std::size_t>(mode)];
}

}  // namespace mcpbox::hosting
