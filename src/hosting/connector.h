// One start of one server, however it runs: the seam between the life cycle above and sandboxes, remote servers and
// fakes below. Nothing here knows of sandboxes.
//
// Everything lives on one executor.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "channel/channel.h"
#include "net/task.h"
#include "net/wait.h"
#include "provision/instance_id.h"
#include "provision/stage/pull_outcome.h"
#include "provision/start_report.h"

namespace mcpbox::hosting {

using provision::InstanceId;

// How a connection ended by itself.
struct End {
  enum class Kind { kProcessExit, kSandboxLost, kRemoteClosed };
  Kind kind = Kind::kProcessExit;
  std::string how;       // for people: "the server ended: exit code 3"
  bool remains = false;  // why it ended: what it left counts at its next start, too
};

// How long a server is given to go by itself (stdio transport, "Shutdown"). The waits are those of the official SDKs.
struct Grace {
  std::chrono::milliseconds after_end_of_input{2000};  // then SIGTERM
  std::chrono::milliseconds after_sigterm{2000};       // then SIGKILL for everything of its user
};

// A copy of what there is to see; what a connection has not stays empty.
struct ConnectionView {
  std::string sandbox;  // its name on the engine
  pid_t pid = 0;
  uid_t uid = 0;
  std::string environment;  // hash of the installed environment
  std::string packages;     // what is in it, in short
};

// A server that was started. Destroyed without stop() it leaves nothing running behind either, but does not wait for
// that.
class Connection {
 public:
  virtual ~Connection() = default;

  // The way to speak with it; once. Outlives the connection if it must. After an error it is to be stopped.
  virtual Result<std::unique_ptr<channel::Channel>> take_channel() = 0;
  // Empty while it lives.
  virtual const std::optional<End>& ended() const = 0;
  // It is over, and how is being found out: ended() follows within seconds.
  virtual bool ending() const { return false; }
  // Everything that it wrote beside the channel is in its log, or will never come.
  virtual bool drained() const = 0;
  // Notified when ended() or drained() became true.
  virtual net::Signal& changed() = 0;
  // Returns when nothing of it is left. The channel's write end was closed before; the graces are waited for only while
  // it lives. Not to be cancelled.
  virtual Task<void> stop(Grace grace) = 0;
  virtual ConnectionView view() const = 0;
};

struct ConnectRequest {
  InstanceId id;
  bool fresh = false;  // stage again also what the server may have changed
};

// The copies of host folders that a server may change.
class Copies {
 public:
  virtual ~Copies() = default;
  // Brings what the server changed back to the host (provision/stage/pull.h). Works whether it runs or not.
  // kFailedPrecondition when it has no such copy.
  virtual Task<Result<std::vector<provision::PullOutcome>>> pull(InstanceId id, provision::PullOptions options) = 0;
};

// Makes the connections of one server.
class Connector {
 public:
  virtual ~Connector() = default;

  // Tells `report` how it goes on. An error says what failed in the phase that was reported last; kInvalidArgument,
  // kPermissionDenied and kFailedPrecondition: trying again later cannot help. When it is cancelled it leaves nothing
  // behind, throws operation_aborted or fails; where it was too late for that it returns a connection all the same.
  virtual Task<Result<std::unique_ptr<Connection>>> connect(ConnectRequest request, provision::StartReport& report) = 0;

  // Null where the server can have no copies. Lives as long as the connector.
  virtual Copies* copies() { return nullptr; }
};

}  // namespace mcpbox::hosting
