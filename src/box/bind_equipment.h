// How equipment gets into the sandboxes of an engine that can show host folders, and how PID 1 is reached there: bind
// mounts, arguments of mcpbox-init, and a directory of the host that holds the control socket.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "box/engine.h"
#include "box/link/supervisor.h"
#include "net/task.h"

namespace mcpbox::box {

// "<sandbox>.<nonce>": the control directory's name in Equipment::run_dir. Several processes make sandboxes of one name
// at the same time, and the engine lets one of them have it; so each try has a directory of its own.
std::string control_directory_name(std::string_view sandbox, std::string_view nonce);
// A new nonce; it says which process drew it.
Result<std::string> control_nonce();
// Whether the process lives that drew the nonce in this name; one that cannot be looked up counts as alive. False for a
// name without a nonce.
bool control_maker_is_alive(std::string_view directory_name);

class BindEquipment {
 public:
  // The control directory of a sandbox that is being made: removed again, unless the sandbox was made.
  class Control {
   public:
    explicit Control(std::string path) : path_(std::move(path)) {}
    Control(Control&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Control& operator=(Control&&) = delete;
    ~Control();
    // Of the socket that PID 1 makes there; empty without equipment.
    std::string socket() const;

   private:
    friend class BindEquipment;
    std::string path_;
  };

  // Puts the equipment into mounts, labels and init_argv; nothing to do without equipment. kPermissionDenied when
  // somebody else's directory has the place of the control directory.
  Result<Control> prepare(SandboxSpec& spec);
  void made(Control control, const std::string& id);
  // Engine::dial().
  Task<Result<std::unique_ptr<Supervisor>>> dial(boost::asio::any_io_executor executor, SandboxState state,
                                                 std::chrono::milliseconds timeout);
  // Whether the place of this sandbox's control directory is known: it was made, dialled or learned of here.
  bool knows(const std::string& id) const { return control_.contains(id); }
  // Where it is, for the removal of a sandbox that an earlier controller made.
  void learn(const SandboxState& state);
  // Removes what is left on the host of a sandbox that is known.
  void removed(const std::string& id);

 private:
  std::map<std::string, std::string> control_;  // directory by sandbox id; empty: it is gone already
};

}  // namespace mcpbox::box
