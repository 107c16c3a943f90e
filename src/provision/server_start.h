// A configured server as a start: what the daemon tells the connector.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <string>

#include "base/result.h"
#include "box/engine.h"
#include "config/settings.h"
#include "net/task.h"
#include "provision/instance_id.h"
#include "provision/sandboxed_connector.h"
#include "provision/server_plan.h"

namespace mcpbox::provision {

// What the servers of one daemon have in common. Refers to things that outlive it.
struct ServerHost {
  box::Engine& engine;
  boost::asio::thread_pool& pool;
  UidBook uids;
  box::SandboxOptions sandbox;  // instance, init_path, run_dir, ca_bundle, cache_volume, profile.image and limits
  std::string image;            // engine id of the image that is used where a server names none
  PlanPolicy policy;
  config::Limits limits;                // of a server that says nothing else
  bool one_server_per_sandbox = false;  // EngineTraits
};

// Why the server has a sandbox to itself, for people; empty when it shares one. On an engine that keeps no servers
// apart (ServerHost::one_server_per_sandbox) each has, whatever this says.
std::string why_alone(const config::ServerBoxSettings& box, const workspace::Plan& plan);

// What the server may use; where its folders are is known when it is launched. `shared`: it has no sandbox to itself.
box::ServerLimits limits_of(const config::Limits& all, const config::ServerBoxSettings& own, bool shared);

// Servers with equal profiles are put into one sandbox, unless they have mounts or ask for one of their own. Plans on
// the pool. kNotFound for an image that the engine does not have; what the plan refuses is the connector's to say.
Task<Result<SandboxedStart>> start_of(const ServerHost& host, config::ServerSettings settings, InstanceId id);

}  // namespace mcpbox::provision
