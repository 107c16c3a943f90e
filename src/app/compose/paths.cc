#include "app/compose/paths.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "box/bind_equipment.h"
#include "box/sandbox.h"
#include "sys/private_directory.h"
#include "sys/small_file.h"
#include "sys/unix_listener.h"

namespace mcpbox::app {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = ::getenv(name);
  return value != nullptr ? value : "";
}

std::string home_directory() {
  if (std::string home = variable("HOME"); home.starts_with('/')) return home;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr && entry->pw_dir != nullptr ? entry->pw_dir : "/";
}

std::string default_state_dir() {
  if (std::string dir = variable("MCPBOX_STATE_DIR"); !dir.empty()) return dir;
  if (::geteuid() == 0) return "/var/lib/mcpbox";
  if (std::string dir = variable("XDG_STATE_HOME"); dir.starts_with('/')) return dir + "/mcpbox";
  return home_directory() + "/.local/state/mcpbox";
}

std::string default_run_dir() {
  if (std::string dir = variable("MCPBOX_RUN_DIR"); !dir.empty()) return dir;
  if (::geteuid() == 0) return "/run/mcpbox";
  if (std::string dir = variable("XDG_RUNTIME_DIR"); dir.starts_with('/')) return dir + "/mcpbox";
  return fmt::format("/tmp/mcpbox-{}", ::geteuid());
}

// A command that mends it is one way, another place the other; else there is only this one.
std::string_view or_where_mended(const Error& error) {
  return error.message().contains('`') ? "or " : "";
}

std::string executable_directory() {
  std::array<char, 4096> buffer{};
  const ssize_t size = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  if (size <= 0) return {};
  const std::string path(buffer.data(), static_cast<std::size_t>(size));
  return path.substr(0, path.rfind('/'));
}

}  // namespace

std::string default_socket() {
  if (std::string socket = variable("MCPBOX_SOCKET"); !socket.empty()) return socket;
  return default_run_dir() + "/control.sock";
}

Paths name_paths(const std::string& state_dir, const std::string& socket) {
  Paths paths;
  paths.state_dir = state_dir.empty() ? default_state_dir() : state_dir;
  paths.run_dir = default_run_dir();
  paths.socket = socket.empty() ? default_socket() : socket;
  paths.home = home_directory();
  return paths;
}

Result<Paths> make_paths(const std::string& state_dir, const std::string& socket) {
  Paths paths = name_paths(state_dir, socket);
  if (auto made = sys::make_private_path(paths.state_dir); !made) {
    return fail(Error(made.error().code(), fmt::format("the state directory: {}; {}name another one in {}",
                                                       made.error().message(), or_where_mended(made.error()),
                                                       state_dir.empty() ? "MCPBOX_STATE_DIR" : "daemon.state_dir")));
  }
  if (auto made = sys::make_private_path(paths.run_dir); !made) {
    return fail(Error(made.error().code(), fmt::format("the directory of control sockets: {}; {}name another one in "
                                                       "MCPBOX_RUN_DIR",
                                                       made.error().message(), or_where_mended(made.error()))));
  }
  return paths;
}

Result<void> check_socket_folder(const std::string& socket) {
  const std::string folder = fs::path(socket).parent_path().string();
  std::error_code error;
  if (folder.empty() || folder == default_run_dir()) return {};  // this one is made
  const auto what = fs::status(folder, error).type();
  if (what == fs::file_type::directory ||
      (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory))
    return {};
  const std::string named = printable(folder);
  if (what != fs::file_type::not_found) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} of the control socket {} is no folder: name another place (daemon.socket, --socket, "
                            "MCPBOX_SOCKET)",
                            named, printable(socket)));
  }
  return fail(Code::kInvalidArgument,
              fmt::format("the folder {} of the control socket does not exist: make it (`mkdir -p -m 700 {}`), or "
                          "name another place (daemon.socket, --socket, MCPBOX_SOCKET)",
                          named, named));
}

Result<std::string> instance_id(const std::string& state_dir) {
  const std::string path = state_dir + "/instance";
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (auto text = sys::read_file(path); text || text.error().code() != Code::kNotFound) {
      if (!text) return fail(std::move(text).error());
      std::string id(trim(*text));
      if (id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string::npos) return id;
      return fail(
          Code::kDataLoss,
          fmt::format("{} does not hold an instance id (32 hexadecimal digits); remove it, and sandboxes of the "
                      "old id with `docker ps --filter label=io.mcpbox.managed=1`",
                      path));
    }
    // Written beside and linked into place, so that two first starts agree on one id.
    const std::string id = random_hex(16);
    const std::string fresh = fmt::format("{}.{}", path, id.substr(0, 8));
    if (auto written = sys::replace_file(fresh, id + "\n", sys::Durable::kYes); !written)
      return fail(std::move(written).error());
    const int linked = ::link(fresh.c_str(), path.c_str());
    const int number = errno;
    ::unlink(fresh.c_str());
    if (linked != 0 && number != EEXIST) return fail(errno_error(number, path));
  }
  return fail(Code::kInternal, fmt::format("{} cannot be read back", path));
}

std::string daemon_egress_directory(const Paths& paths, const std::string& instance) {
  return fmt::format("{}/{}daemon.egress", paths.run_dir, box::name_prefix(instance));
}

void remove_stale_files(const Paths& paths, const std::string& instance) {
  sys::remove_stale_socket(paths.socket);
  const std::string prefix = box::name_prefix(instance);
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(paths.run_dir, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with(prefix) || box::control_maker_is_alive(name)) continue;
    // PID 1 of a sandbox answers there, on whichever engine: the next daemon adopts it.
    const std::string control = paths.run_dir + "/" + name + "/control.sock";
    if (::access(control.c_str(), F_OK) == 0 && !sys::remove_stale_socket(control)) continue;
    sys::remove_stale_socket(paths.run_dir + "/" + name + "/egress.sock");
    ::rmdir((paths.run_dir + "/" + name).c_str());
  }
}

Result<std::string> find_init() {
  std::vector<std::string> tried;
  if (std::string path = variable("MCPBOX_INIT"); !path.empty()) {
    tried.push_back(path);
  } else if (const std::string dir = executable_directory(); !dir.empty()) {
    tried.push_back(dir + "/mcpbox-init");
    tried.push_back(dir + "/../libexec/mcpbox/mcpbox-init");
  }
  for (const std::string& path : tried) {
    if (::access(path.c_str(), X_OK) != 0) continue;
    char* real = ::realpath(path.c_str(), nullptr);
    if (real == nullptr) continue;
    std::string found(real);
    ::free(real);
    return found;
  }
  return fail(Code::kNotFound,
              fmt::format("mcpbox-init is not there (looked at {}); build or install it, or set MCPBOX_INIT",
                          join(tried, ", ")));
}

}  // namespace mcpbox::app
