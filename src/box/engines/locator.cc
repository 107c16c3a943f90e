#include "box/engines/locator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "box/docker/engine.h"

namespace mcpbox::box {
namespace {

constexpr std::string_view kHint =
    "start one with `scripts/engine start`, or set DOCKER_HOST, or use --engine native, which needs none";

constexpr std::string_view kNoPermission = "permission denied: join the socket's group, or run as root";

// The socket is there, and its mode keeps this user out.
bool is_closed_to_us(const std::string& socket) {
  return !socket.empty() && ::access(socket.c_str(), F_OK) == 0 && ::access(socket.c_str(), W_OK) != 0 &&
         errno == EACCES;
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
    out.push_back({"the configured address", parse_docker_address(options.address, certificates, tls)});
    return out;
  }
  if (const auto host = environment(options, "DOCKER_HOST"); !host.empty()) {
    out.push_back({"DOCKER_HOST", parse_docker_address(host, certificates, tls)});
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
    if (named && !socket.empty() && ::access(socket.c_str(), F_OK) != 0 && errno == ENOENT) problem = "not there";
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
      if (is_closed_to_us(socket)) {
        co_return fail(Code::kUnavailable,
                       where + ": permission denied: join the socket's group, or " +
                           (candidate.origin == "DOCKER_HOST" ? "unset DOCKER_HOST" : "use --engine native") +
                           " for native sandboxes");
      }
    }
    tried += "\n  " + candidate.origin + " (" + where + "): " + problem;
  }
  // A named engine that does not answer is an error: silently there would be other sandboxes than those that are
  // wanted.
  if (!named && !options.host_system.init_path.empty()) {
    auto native = co_await native_engine(executor, std::move(options.host_system));
    if (native || native.error().code() == Code::kCancelled) co_return native;
    tried += "\n  native: " + native.error().message();
  }
  co_return fail(Code::kUnavailable, "no container engine answers; " + std::string(kHint) + ". Tried:" + tried);
}

}  // namespace mcpbox::box
