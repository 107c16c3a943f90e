// The controller's side of `mcpbox egress serve`: starts the process and tells it who may do what.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "egress/control/codec.h"
#include "net/task.h"

namespace mcpbox::egress {

struct EgressLaunch {
  std::string program = "/proc/self/exe";
  // Its arguments, argv[0] included; the control channel is descriptor 3.
  std::vector<std::string> argv;
};
// The arguments of `mcpbox egress serve` for these paths. `socket_mode` in octal goes along when it is not 0600.
EgressLaunch egress_launch(const std::string& socket_path, const std::string& audit_directory,
                           mode_t socket_mode = 0600);

// Lives on one executor that one thread runs. The process ends with the channel: also when we are killed.
class EgressProcess {
 public:
  // Returns before the process has answered; the first call waits for it. The process inherits 0 (/dev/null), 1, 2 and
  // its end of the channel, and an empty environment.
  static Result<std::unique_ptr<EgressProcess>> start(boost::asio::any_io_executor executor,
                                                      const EgressLaunch& launch);
  ~EgressProcess();
  EgressProcess(const EgressProcess&) = delete;
  EgressProcess& operator=(const EgressProcess&) = delete;

  // Each waits for the answer, at most five seconds, one call at a time. Errors: kInvalidArgument with the text for
  // people when a rule or setting is wrong, kUnavailable when the process has gone (then it has to be started anew and
  // everything registered again).
  Task<Result<void>> configure(NetworkText network);
  Task<Result<void>> register_process(RegistrationText registration);
  // Ends the process's connections. kNotFound when it was not registered.
  Task<Result<void>> unregister_process(std::string process);
  Task<Result<void>> ping();

  // Returns when the process has ended, however it did.
  Task<void> ended();
  // Closes the channel, waits two seconds, then kills. May be called again.
  Task<void> stop();
  pid_t pid() const;

 private:
  struct Impl;
  explicit EgressProcess(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace mcpbox::egress
