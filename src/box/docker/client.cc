#include "box/docker/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/secrets.h"
#include "base/text.h"
#include "base/url.h"
#include "box/docker/json.h"

namespace mcpbox::box {
namespace {

constexpr int kOldestApi = 40;  // 1.40: Docker 19.03, the first with cgroup v2 and typed mounts that we rely on
constexpr int kNewestApi = 47;  // 1.47: Docker 27, the newest whose changes were read

// "1.41" → 41; -1 when it is not version 1.
int minor_of(std::string_view version) {
  if (!version.starts_with("1.")) return -1;
  int minor = -1;
  const auto digits = version.substr(2);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), minor);
  return error == std::errc() && end == digits.data() + digits.size() ? minor : -1;
}

std::string target_of(const DockerClient::Call& call) {
  std::string out = call.path;
  char separator = '?';
  for (const auto& [name, value] : call.query) {
    out += separator + percent_encode(name) + "=" + percent_encode(value);
    separator = '&';
  }
  return out;
}

bool is_disk_full(std::string_view said) {
  return said.find("no space left on device") != said.npos;
}

DockerFacts read_facts(const nlohmann::json& version, const nlohmann::json& info, int api_minor,
                       const DockerAddress& address) {
  DockerFacts facts;
  facts.api_minor = api_minor;
  auto& out = facts.info;
  out.address = address.text;
  out.api_version = "1." + std::to_string(api_minor);
  out.version = printable(string_at(version, {"Version"}), 80);
  const auto& components = member(version, {"Components"});
  if (components.is_array()) {
    for (const auto& component : components) facts.podman |= string_at(component, {"Name"}) == "Podman Engine";
  }
  out.kind = facts.podman ? "podman" : "docker";
  out.operating_system = printable(string_at(info, {"OperatingSystem"}), 120);
  out.cgroup_version = string_at(info, {"CgroupVersion"}) == "2" ? 2 : 1;
  const auto cpus = integer_at(info, {"NCPU"});
  facts.cpus = cpus > 0 && cpus < 65536 ? static_cast<unsigned>(cpus) : 0;
  facts.swap_limit = bool_at(info, {"SwapLimit"}, true);

  bool seccomp = false;
  const auto& security = member(info, {"SecurityOptions"});
  if (security.is_array()) {
    for (const auto& option : security) {
      const auto text = option.is_string() ? option.get<std::string>() : std::string();
      out.rootless |= text.starts_with("name=rootless");
      out.user_namespace |= text.starts_with("name=userns");
      seccomp |= text.starts_with("name=seccomp") && text.find("unconfined") == text.npos;
    }
  }
  out.traits.binds_host_folders = !address.unix_socket.empty();  // another machine's folders are none of ours
  out.traits.passes_descriptors = out.traits.binds_host_folders;
  out.summary = fmt::format("{} {}{} at {}", out.kind, out.version, out.rootless ? ", rootless," : "", out.address);
  if (address.unix_socket.empty() && address.base_url.starts_with("http://")) {
    out.warnings.push_back(
        "the engine is reached over TCP without TLS: whoever reaches that port controls its machine");
  }
  if (!seccomp) out.warnings.push_back("the engine runs containers without its default seccomp filter");
  if (!bool_at(info, {"MemoryLimit"}, true))
    out.warnings.push_back("the engine cannot limit memory (no memory cgroup)");
  if (!facts.swap_limit)
    out.warnings.push_back("the engine cannot limit swap: a server can swap beyond its memory limit");
  if (!bool_at(info, {"PidsLimit"}, true)) out.warnings.push_back("the engine cannot limit the number of processes");
  if (!bool_at(info, {"CpuCfsQuota"}, true)) out.warnings.push_back("the engine cannot limit processor time");
  return facts;
}

}  // namespace

Error docker_error(int status, std::string_view said) {
  const std::string text =
      said.empty() ? "status " + std::to_string(status) + " without a message" : from_outside(said, 1500);
  if (is_disk_full(said)) {
    return Error(Code::kResourceExhausted, "no space left on the engine's disk: " + text +
                                               "; free space (docker system prune) or move the engine's data root");
  }
  switch (status) {
    case 400:
      return Error(Code::kInvalidArgument, text);
    case 401:
      return Error(Code::kUnauthenticated, text);
    case 403:
      return Error(Code::kPermissionDenied, text);
    case 404:
      return Error(Code::kNotFound, text);
    case 409:
      return Error(Code::kAlreadyExists, text);
    case 502:
    case 503:
    case 504:
      return Error(Code::kUnavailable, text);
    default:
      return Error(Code::kFailedPrecondition, text);
  }
}

DockerClient::DockerClient(boost::asio::any_io_executor executor, DockerAddress address, DockerOptions options)
    : http_(std::move(executor)), address_(std::move(address)), options_(options) {}

Task<Result<DockerFacts>> DockerClient::facts() {
  if (facts_) co_return *facts_;
  const std::string where = "engine at " + address_.text;
  Call ping;
  ping.path = "/_ping";
  auto pong = co_await send(std::move(ping), "");
  if (!pong) co_return fail(std::move(pong).error().with_context(where));
  if (pong->status >= 400) co_return fail(docker_error(pong->status, pong->body).with_context(where));
  const std::string offered(pong->header("api-version"));
  const int offered_minor = minor_of(offered);
  if (offered_minor < 0) {
    co_return fail(Code::kUnsupported,
                   where + ": what answers there is not a Docker-compatible engine (no Api-Version)");
  }
  if (offered_minor < kOldestApi) {
    co_return fail(Code::kUnsupported, where + " speaks API " + printable(offered, 20) +
                                           "; 1.40 or newer is needed (Docker 19.03, Podman 3): update the engine");
  }
  const int minor = std::min(offered_minor, kNewestApi);
  const std::string prefix = "/v1." + std::to_string(minor);

  Call ask_version, ask_info;
  ask_version.path = "/version";
  ask_info.path = "/info";
  auto version = co_await send(std::move(ask_version), prefix);
  if (!version) co_return fail(std::move(version).error().with_context(where));
  if (version->status >= 400) co_return fail(docker_error(version->status, version->body).with_context(where));
  auto info = co_await send(std::move(ask_info), prefix);
  if (!info) co_return fail(std::move(info).error().with_context(where));
  if (info->status >= 400) co_return fail(docker_error(info->status, info->body).with_context(where));
  auto version_json = parse_docker_json(version->body, "its version");
  if (!version_json) co_return fail(std::move(version_json).error().with_context(where));
  auto info_json = parse_docker_json(info->body, "its description");
  if (!info_json) co_return fail(std::move(info_json).error().with_context(where));
  const std::string oldest = string_at(*version_json, {"MinAPIVersion"});
  if (minor_of(oldest) > minor) {
    co_return fail(Code::kUnsupported, where + " speaks API " + printable(oldest, 20) +
                                           " and newer, this program up to 1." + std::to_string(kNewestApi) +
                                           ": update mcpbox");
  }
  facts_ = read_facts(*version_json, *info_json, minor, address_);
  co_return *facts_;
}

Task<Result<std::string>> DockerClient::call(Call call) {
  auto known = co_await facts();
  if (!known) co_return fail(std::move(known).error());
  auto answer = co_await send(std::move(call), "/v" + known->info.api_version);
  if (!answer) {
    if (answer.error().code() == Code::kUnavailable) forget_facts();  // another engine may answer next time
    co_return fail(std::move(answer).error());
  }
  if (answer->status < 200 || (answer->status >= 300 && answer->status != 304)) {  // 304: started already
    std::string said = answer->body;
    if (auto parsed = parse_docker_json(answer->body, "an error")) {
      if (auto message = string_at(*parsed, {"message"}); !message.empty()) said = std::move(message);
    }
    co_return fail(docker_error(answer->status, trim(said)));
  }
  co_return std::move(answer->body);
}

Task<Result<net::HttpResponse>> DockerClient::send(Call call, std::string prefix) {
  net::HttpRequest request;
  request.method = call.method;
  request.url = address_.base_url + prefix + target_of(call);
  request.unix_socket = address_.unix_socket;
  request.tls = address_.tls;
  request.connect_timeout = options_.connect_timeout;
  request.total_timeout = call.timeout.count() > 0 ? call.timeout : options_.call_timeout;
  if (call.idle_timeout.count() > 0) request.total_timeout = std::chrono::milliseconds(0);
  request.idle_timeout = call.idle_timeout;
  request.max_body_bytes = call.on_body ? 0 : options_.max_answer_bytes;
  request.on_body = std::move(call.on_body);
  // What is repeated on a new connection by libcurl must be harmless twice.
  request.own_connection = call.method != "GET" && call.method != "HEAD";
  if (!call.json_body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(call.json_body);
  co_return co_await http_.fetch(std::move(request));
}

}  // namespace mcpbox::box
