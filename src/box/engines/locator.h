// Finds the container engine to use.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "box/docker/address.h"
#include "box/docker/client.h"
#include "box/engine.h"
#include "box/native/engine.h"

namespace mcpbox::box {

struct LocatorOptions {
  std::string address;  // from the configuration or the command line; "" or "auto" = look for one, else the native one
  // What named the address, for people, where it was neither of the two: "the newest daemon's note /srv/x".
  std::string named_by;
  std::function<std::string(const char* name)> environment;  // empty = the process's own
  std::string root;                                          // where /run and /var are looked for; for tests
  DockerOptions docker;
  // For the address kHostSystemEngine, and where no container engine answers: then only with an init_path.
  NativeOptions host_system;
};

struct EngineCandidate {
  std::string origin;  // "DOCKER_HOST", "Docker"
  Result<DockerAddress> address;
};

// The address of the engine whose sandboxes show this machine's own system or a folder, and what people are told of
// addresses.
inline constexpr std::string_view kHostSystemEngine = "native";
inline constexpr const char* kAddressHelp = "Engine to use: auto, native or unix:///PATH";

// Why nobody can run servers with this address of a configuration, for people ("expected …"); empty when it is one.
std::string address_problem(std::string_view address);

// Whether the address may lead to an engine that shows this machine's own system, and needs
// LocatorOptions::host_system.
bool may_show_host_system(std::string_view address);

// What locate_engine() tries, in this order, unless the address is "native". A given address is the only candidate;
// else DOCKER_HOST is, when set; else the candidates are the sockets of rootless Docker, Docker, mcpbox's own engine
// (scripts/engine), rootless Podman and Podman.
std::vector<EngineCandidate> engine_candidates(const LocatorOptions& options);

struct LocatedEngine {
  std::unique_ptr<Engine> engine;
  EngineInfo info;
};

// The first candidate that answers within 10 s, else the native engine, unless one was named. A socket that was not
// named explicitly must belong to root or to us: whoever owns the engine sees everything. kUnavailable lists what was
// tried and says how to start an engine; of a named one it says by what it was named, where, and with which errno it
// does not answer.
Task<Result<LocatedEngine>> locate_engine(boost::asio::any_io_executor executor, LocatorOptions options);

}  // namespace mcpbox::box
