#include "egress/control/codec.h"

#include <fmt/format.h>

#include "json/text.h"
#include "json/value.h"

namespace mcpbox::egress {
namespace {

using json::quote;
using json::Value;

std::string list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? "," : "") + quote(text);
  return out + "]";
}

// Absent is empty; anything but a list of strings is an error.
Result<std::vector<std::string>> strings(const Value& value, std::string_view name) {
  std::vector<std::string> out;
  if (!value.present()) return out;
  if (!value.is_array()) return fail(Code::kInvalidArgument, fmt::format("{} is no list", name));
  for (const Value& item : value.elements()) {
    const auto text = item.string();
    if (!text) return fail(Code::kInvalidArgument, fmt::format("{} has an entry that is no string", name));
    out.emplace_back(*text);
  }
  return out;
}

Result<ControlCommand> read_configure(const Value& doc) {
  NetworkText text;
  for (const auto& [name, address] : doc["hosts"].members()) text.hosts[name] = address.string_or();
  auto ranges = strings(doc["allow_private"], "allow_private");
  if (!ranges) return fail(std::move(ranges.error()));
  text.allow_private = std::move(*ranges);
  text.upstream_proxy = Secret(doc["upstream_proxy"].string_or());
  auto settings = parse_network(text);
  if (!settings) return fail(std::move(settings.error()));
  return ConfigureCommand{std::move(*settings)};
}

Result<ControlCommand> read_register(const Value& doc) {
  RegisterCommand command;
  Registration& out = command.registration;
  out.process = doc["process"].string_or();
  out.server = doc["server"].string_or();
  out.token_sha256 = doc["token_sha256"].string_or();
  const auto uid = doc["uid"].unsigned_integer();
  if (!uid || *uid >= 0xffffffffu) return fail(Code::kInvalidArgument, "uid is missing or no user id");
  out.uid = static_cast<uid_t>(*uid);
  const auto phase = parse_phase(doc["phase"].string_or());
  if (!phase) return fail(phase.error());
  out.phase = *phase;
  const Value policy = doc["policy"];
  if (!policy.is_object()) return fail(Code::kInvalidArgument, "the policy is missing");
  PolicyText text;
  text.mode = policy["mode"].string_or();
  auto allow = strings(policy["allow"], "allow"), install_allow = strings(policy["install_allow"], "install_allow");
  auto registries = strings(policy["registries"], "registries");
  if (!allow) return fail(std::move(allow.error()));
  if (!install_allow) return fail(std::move(install_allow.error()));
  if (!registries) return fail(std::move(registries.error()));
  text.registries = std::move(*registries);
  text.allow = std::move(*allow);
  text.install_allow = std::move(*install_allow);
  auto parsed = parse_policy(text);
  if (!parsed) return fail(std::move(parsed.error()));
  out.policy = std::move(*parsed);
  return command;
}

}  // namespace

Result<NetworkSettings> parse_network(const NetworkText& network) {
  NetworkSettings out;
  for (const auto& [name, text] : network.hosts) {
    auto host = parse_host(name);
    if (!host) return fail(std::move(host.error()).with_context("egress.hosts"));
    const auto address = IpAddress::parse(text);
    if (!address)
      return fail(Code::kInvalidArgument, fmt::format("egress.hosts: '{}' is no IP address", text.substr(0, 80)));
    out.hosts[host->name] = *address;
  }
  for (const std::string& text : network.allow_private) {
    auto range = Cidr::parse(text);
    if (!range) return fail(std::move(range.error()).with_context("egress.allow_private"));
    out.allow_private.push_back(*range);
  }
  if (!network.upstream_proxy.empty()) {
    auto upstream = UpstreamProxy::parse(network.upstream_proxy.reveal());
    if (!upstream) return fail(std::move(upstream.error()));
    out.upstream = std::move(*upstream);
  }
  return out;
}

Result<Policy> parse_policy(const PolicyText& policy) {
  Policy out;
  const auto mode = parse_mode(policy.mode);
  if (!mode) return fail(mode.error());
  out.mode = *mode;
  auto allow = parse_rules(policy.allow), install_allow = parse_rules(policy.install_allow),
       registries = parse_rules(policy.registries);
  if (!allow) return fail(std::move(allow.error()).with_context("box.network.allow"));
  if (!install_allow) return fail(std::move(install_allow.error()).with_context("box.network.install_allow"));
  if (!registries)
    return fail(std::move(registries.error()).with_context("the registries that the user's settings name"));
  out.allow = std::move(*allow);
  out.install_allow = std::move(*install_allow);
  out.registries = std::move(*registries);
  return out;
}

Result<ControlCommand> parse_control(std::string_view line) {
  auto doc = Value::parse(line, {.max_bytes = kMaxControlLine, .max_depth = 8});
  if (!doc) return fail(std::move(doc.error()));
  const std::string op = (*doc)["op"].string_or();
  if (op == "configure") return read_configure(*doc);
  if (op == "register") return read_register(*doc);
  if (op == "unregister") return UnregisterCommand{(*doc)["process"].string_or()};
  if (op == "ping") return PingCommand{};
  return fail(Code::kInvalidArgument, "unknown op");
}

std::string configure_line(const NetworkText& network) {
  std::string hosts;
  for (const auto& [name, address] : network.hosts)
    hosts += fmt::format("{}{}:{}", hosts.empty() ? "" : ",", quote(name), quote(address));
  return fmt::format("{{\"op\":\"configure\",\"hosts\":{{{}}},\"allow_private\":{},\"upstream_proxy\":{}}}\n", hosts,
                     list(network.allow_private), quote(network.upstream_proxy.reveal()));
}

std::string register_line(const RegistrationText& r) {
  return fmt::format(
      "{{\"op\":\"register\",\"process\":{},\"server\":{},\"uid\":{},\"token_sha256\":{},\"phase\":{},"
      "\"policy\":{{\"mode\":{},\"allow\":{},\"install_allow\":{},\"registries\":{}}}}}\n",
      quote(r.process), quote(r.server), r.uid, quote(r.token_sha256), quote(r.phase), quote(r.policy.mode),
      list(r.policy.allow), list(r.policy.install_allow), list(r.policy.registries));
}

std::string unregister_line(std::string_view process) {
  return fmt::format("{{\"op\":\"unregister\",\"process\":{}}}\n", quote(process));
}
std::string ping_line() {
  return "{\"op\":\"ping\"}\n";
}

std::string control_ok() {
  return "{\"ok\":true}\n";
}
std::string control_error(const Error& error) {
  return fmt::format("{{\"error\":{},\"code\":{}}}\n", quote(error.message()), static_cast<int>(error.code()));
}

Result<void> parse_control_answer(std::string_view line) {
  auto doc = Value::parse(line, {.max_bytes = kMaxControlLine, .max_depth = 4});
  if (!doc) return fail(std::move(doc.error()).with_context("the egress proxy's answer"));
  if ((*doc)["ok"].bool_or(false)) return {};
  const auto code = (*doc)["code"].integer_or(static_cast<int>(Code::kInternal));
  const bool known = code >= 0 && code <= static_cast<int>(Code::kInternal);
  return fail(known ? static_cast<Code>(code) : Code::kInternal,
              (*doc)["error"].string_or("it refused without a reason"));
}

}  // namespace mcpbox::egress
