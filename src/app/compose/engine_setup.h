// What every verb that makes sandboxes needs first: an engine that answers, the image, the trust store, mcpbox-init.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "app/compose/paths.h"
#include "app/compose/progress.h"
#include "base/result.h"
#include "box/engine.h"
#include "box/engines/locator.h"
#include "net/task.h"
#include "workspace/toolchain.h"

namespace mcpbox::app {

struct EngineSetup {
  std::unique_ptr<box::Engine> engine;
  box::EngineInfo info;
  std::string image_reference;  // as shown to people
  std::string image_id;         // what sandboxes are made from
};

// What the user's PATH finds outside the system; sandboxes of this machine's own system show it. For people: "FOLDER
// for node, npm", one a folder.
workspace::Toolchains own_toolchains();
std::vector<std::string> describe_toolchains(const workspace::Toolchains& chains);

// How to find the engine at this address. `state_dir`: where an engine that keeps its things with us keeps them; empty
// = this user's.
Result<box::LocatorOptions> locator_options(std::string address, const std::string& state_dir = "");

// Whether the native engine has sandboxes there, running or left over.
bool has_native_sandboxes(const std::string& state_dir);

// Whether sandboxes of this engine can have what servers need of this machine: mcpbox-init and folders as mounts, pipes
// as descriptors. kUnsupported says what to use instead.
Result<void> check_engine(const box::EngineInfo& info);

// `image` empty = the runner image (on an engine without images: this machine's own system), built if it is missing.
// `state_dir` as for locator_options().
// Errors: kUnavailable when no engine answers; check_engine()'s.
Task<Result<EngineSetup>> set_up_engine(boost::asio::any_io_executor executor, std::string address, std::string image,
                                        std::string ca_bundle, ProgressPrinter& progress, std::string state_dir = "");

// What servers are never shown: mcpbox's own directories and socket, and the engine's socket.
std::vector<std::string> denied_places(const Paths& paths, const std::string& engine_address);

// "" and "system" = the host's own bundle where there is one, "none" = none, else the path, which must be readable.
Result<std::string> resolve_ca_bundle(const std::string& setting);

}  // namespace mcpbox::app
