// Which engine the daemon of a state directory uses: noted beside its control socket, for the verbs that look after
// what it has made and left.
#pragma once

#include <string>

#include "app/verbs/daemon_client.h"
#include "base/result.h"
#include "net/task.h"

namespace mcpbox::app {

// Notes the address (EngineInfo::address) in <state_dir>/daemon.engine, where it stays until another daemon starts.
Result<void> note_daemon_engine(const std::string& state_dir, const std::string& address);
// The address of the newest daemon's engine; empty when none is noted, or no address.
std::string daemon_engine(const std::string& state_dir);

// What the daemon behind `client` uses, if it runs and it was it that noted `noted`; else empty. A daemon that still
// looks for its engine, or one of another state directory, says nothing of that.
Task<std::string> running_engine(DaemonClient& client, std::string noted);

// The address of the engine that is meant, "" or "auto" for whichever answers: the first of these that names one.
struct EngineHints {
  std::string given;       // --engine
  std::string running;     // running_engine()
  std::string configured;  // engine: of the configuration
  std::string noted;       // daemon_engine()
};
struct ChosenEngine {
  std::string address;
  std::string named_by;  // LocatorOptions::named_by; empty for what somebody wrote or typed
};
ChosenEngine choose_engine(const EngineHints& hints, const std::string& state_dir);
// The same of `noted` alone.
ChosenEngine noted_engine(std::string noted, const std::string& state_dir);

}  // namespace mcpbox::app
