// How equipment gets into the sandboxes of an engine that can show host folders, and how PID 1 is reached there: bind
// mounts, arguments of mcpbox-init, and a directory of the host that holds the control socket.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "box/engine.h"
#include "box/link/supervisor.h"
#include "net/task.h"

namespace mcpbox::box {

class BindEquipment {
 public:
  // The control directory of a sandbox that is being made: removed again, unless it was there before or the sandbox
  // was made.
  class Control {
   public:
    Control(std::string path, bool fresh) : path_(std::move(path)), fresh_(fresh) {}
    Control(Control&& other) noexcept;
    Control& operator=(Control&&) = delete;
    ~Control();

   private:
    friend class BindEquipment;
    std::string path_;
    bool fresh_ = false;
  };

  // Puts the equipment into mounts, labels and init_argv; nothing to do without equipment. kPermissionDenied when
  // somebody else's directory has the place of the control directory.
  Result<Control> prepare(SandboxSpec& spec);
  void made(Control control, const std::string& id);
  // Engine::dial().
  Task<Result<std::unique_ptr<Supervisor>>> dial(boost::asio::any_io_executor executor, SandboxState state,
                                                 std::chrono::milliseconds timeout);
  // Removes what is left on the host of a sandbox that was made or dialled here.
  void removed(const std::string& id);

 private:
  std::map<std::string, std::string> control_;  // directory by sandbox id
};

}  // namespace mcpbox::box
