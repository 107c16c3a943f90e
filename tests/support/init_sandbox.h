// A sandbox without an engine: the real mcpbox-init as PID 1 of new pid, mount, network and IPC namespaces, with the
// five capabilities that an engine would leave it. Needs root.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace mcpbox::test {

class InitSandbox {
 public:
  static constexpr uid_t kOwner = 4242;  // owns the control directory, as the operator of mcpbox would

  // `extra`: more arguments for mcpbox-init. Programs under test are in /opt/tests of the sandbox.
  // `closed_stdio`: it is started without descriptors 0, 1 and 2. `priorities`: it has CAP_SYS_NICE.
  explicit InitSandbox(std::vector<std::string> extra = {}, bool closed_stdio = false, bool priorities = true);
  ~InitSandbox();  // kills it and removes its directory
  InitSandbox(const InitSandbox&) = delete;
  InitSandbox& operator=(const InitSandbox&) = delete;

  std::string socket() const { return base_ + "/run/control.sock"; }
  std::string workspace() const { return base_ + "/workspace"; }  // as seen from outside
  std::string cache() const { return base_ + "/cache"; }
  pid_t pid() const { return pid_; }
  // Waits until PID 1 has ended; its exit code, or minus the signal. Nothing when it has not within the time.
  std::optional<int> wait(int seconds);

 private:
  std::string base_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

}  // namespace mcpbox::test
