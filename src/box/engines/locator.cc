#include "box/engines/locator.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/setting_name.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "box/docker/engine.h"

namespace mcpbox::box {
namespace {

constexpr std::string_view kHint = "start one with `scripts/engine start`, or name one in DOCKER_HOST";

constexpr std::string_view kVariable = "DOCKER_HOST";
constexpr std::string_view kNoPermission = "permission denied: join the socket's group, or run as root";

// What connect(2) says of the socket: 0 when somebody listens there, or nobody can tell.
int connect_error(const std::string& socket) {
  sockaddr_un address{};
  if (socket.empty() || socket.size() >= sizeof address.sun_path) return 0;
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, socket.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return 0;
  return errno == EAGAIN ? 0 : errno;  // EAGAIN: it listens, and has many that wait
}

std::string why_it_does_not_answer(const std::string& socket, int error) {
  const char* name = ::strerrorname_np(error);  // glibc 2.32
  const std::string code = name != nullptr ? std::string(" (") + name + ")" : "";
  struct stat info{};
  if (error == ENOENT || error == ENOTDIR) return "there is no such socket" + code;
  if (error == EACCES || error == EPERM) return "permission denied" + code;
  if (error == ECONNREFUSED && ::stat(socket.c_str(), &info) == 0)
    return (S_ISSOCK(info.st_mode) ? "nobody listens on that socket" : "it is no socket") + code;
  return std::strerror(error) + code;
}

// Of an engine that somebody named: silently there would be other sandboxes than those that are wanted.
// `there`: what named it is a setting, where another one can be named.
std::unexpected<Error> named_one_is_silent(const std::string& named_by, bool there, const DockerAddress& address,
                                           int error, const std::string& said) {
  const bool by_variable = named_by == kVariable;
  std::string what = "no container engine answers at " + address.text + ", which " + named_by + " names: ";
  what += error == 0 ? said : why_it_does_not_answer(address.unix_socket, error);
  what += error == EACCES || error == EPERM ? ": join the socket's group, or " : "; start that engine, or ";
  if (by_variable) {
    what += "unset DOCKER_HOST, and another one is looked for, or native sandboxes are made";
  } else {
    what += std::string("name another ") + (there ? "there" : "with --engine");
    what += ": `native` needs none, `auto` looks for one";
  }
  return fail(Code::kUnavailable, what);
}

std::string environment(const LocatorOptions& options, const char* name) {
  if (options.environment) return options.environment(name);
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

// Why a socket that we found ourselves is not used; empty when it is fine.
std::string reject(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return errno == ENOENT || errno == ENOTDIR ? "not there" : std::strerror(errno);
  if (!S_ISSOCK(info.st_mode)) return "not a socket";
  if (info.st_uid != 0 && info.st_uid != ::geteuid())
    return "belongs to another user (uid " + std::to_string(info.st_uid) + ")";
  if (::access(path.c_str(), W_OK) != 0) return std::string(kNoPermission);
  return {};
}

Task<Result<LocatedEngine>> native_engine(boost::asio::any_io_executor executor, NativeOptions options) {
  LocatedEngine found;
  found.engine = make_native_engine(executor, std::move(options));
  auto info = co_await found.engine->probe();
  if (!info) co_return fail(std::move(info).error());
  found.info = std::move(*info);
  co_return found;
}

}  // namespace

std::string address_problem(std::string_view address) {
  constexpr std::string_view kSocket = "unix:///";
  if (address == "auto" || address == kHostSystemEngine) return {};
  if (address.starts_with(kSocket) && address.size() > kSocket.size()) return {};
  for (const std::string_view scheme : {"tcp://", "http://", "https://"}) {
    if (address.starts_with(scheme))
      return "an engine that is reached over the network cannot run servers; write unix:///PATH, native or auto";
  }
  return "expected auto, native or unix:///PATH";
}

bool may_show_host_system(std::string_view address) {
  return address.empty() || address == "auto" || address == kHostSystemEngine;
}

std::vector<EngineCandidate> engine_candidates(const LocatorOptions& options) {
  const auto certificates = environment(options, "DOCKER_CERT_PATH");
  const auto verify = environment(options, "DOCKER_TLS_VERIFY");
  const bool tls = !verify.empty() && verify != "0";
  std::vector<EngineCandidate> out;
  if (!options.address.empty() && options.address != "auto") {
    const std::string_view setting = setting_name("`engine` of the configuration (or --engine)", "--engine");
    out.push_back({options.named_by.empty() ? std::string(setting) : options.named_by,
                   parse_docker_address(options.address, certificates, tls)});
    return out;
  }
  if (const auto host = environment(options, "DOCKER_HOST"); !host.empty()) {
    out.push_back({std::string(kVariable), parse_docker_address(host, certificates, tls)});
    return out;
  }
  const auto runtime = environment(options, "XDG_RUNTIME_DIR");
  const auto add = [&](const char* origin, const std::string& path) {
    out.push_back({origin, parse_docker_address(options.root + path)});
  };
  if (!runtime.empty()) add("rootless Docker", runtime + "/docker.sock");
  add("Docker", "/var/run/docker.sock");
  add("mcpbox's own engine", "/run/mcpbox-engine/docker.sock");
  if (!runtime.empty()) add("rootless Podman", runtime + "/podman/podman.sock");
  add("Podman", "/run/podman/podman.sock");
  return out;
}

Task<Result<LocatedEngine>> locate_engine(boost::asio::any_io_executor executor, LocatorOptions options) {
  if (options.address == kHostSystemEngine) co_return co_await native_engine(executor, options.host_system);
  auto candidates = engine_candidates(options);
  const bool named = candidates.size() == 1;
  options.docker.connect_timeout = std::min(options.docker.connect_timeout, std::chrono::milliseconds(10000));
  std::string tried;
  for (auto& candidate : candidates) {
    if (!candidate.address) {
      if (named) co_return fail(std::move(candidate.address).error().with_context(candidate.origin));
      continue;
    }
    const std::string where = candidate.address->text;
    const std::string& socket = candidate.address->unix_socket;
    std::string problem = named ? std::string() : reject(socket);
    if (const int error = named ? connect_error(socket) : 0; error != 0)
      co_return named_one_is_silent(candidate.origin, options.named_by.empty(), *candidate.address, error, "");
    if (problem.empty()) {
      auto probing = options.docker;
      probing.call_timeout = std::min(probing.call_timeout, std::chrono::milliseconds(10000));
      auto probe = make_docker_engine(executor, *candidate.address, probing);
      auto info = co_await probe->probe();
      if (info) {
        LocatedEngine found;
        found.engine = make_docker_engine(executor, std::move(*candidate.address), options.docker);
        found.info = std::move(*info);
        co_return found;
      }
      if (info.error().code() == Code::kCancelled) co_return fail(std::move(info).error());
      problem = info.error().message();
      if (named) {
        co_return named_one_is_silent(candidate.origin, options.named_by.empty(), *candidate.address, 0, problem);
      }
    }
    tried += "\n  " + candidate.origin + " (" + where + "): " + problem;
  }
  bool native_failed = false;
  if (!options.host_system.init_path.empty()) {
    auto native = co_await native_engine(executor, std::move(options.host_system));
    if (native || native.error().code() == Code::kCancelled) co_return native;
    tried += "\n  native: " + native.error().message();
    native_failed = true;
  }
  co_return fail(Code::kUnavailable, "no container engine answers; " + std::string(kHint) +
                                         (native_failed ? "" : ", or use --engine native, which needs none") +
                                         ". Tried:" + tried);
}

}  // namespace mcpbox::box
