#include "egress/control/codec.h"

#include <fmt/format.h>

#include "base/sandbox_label.h"
#include "json/value.h"
#include "json/writer.h"

namespace mcpbox::egress {
namespace {

using json::Value;

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
  out.sandbox = doc["sandbox"].string_or();
  if (!out.sandbox.empty() && !is_sandbox_label(out.sandbox)) return fail(Code::kInvalidArgument, "sandbox is no name");
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
  auto secrets = strings(doc["secrets"], "secrets");
  if (!secrets) return fail(std::move(secrets.error()));
  for (std::string& secret : *secrets) command.secrets.emplace_back(std::move(secret));
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
  json::Writer out;
  out.object().member("op", "configure");
  out.object("hosts");
  for (const auto& [name, address] : network.hosts) out.member(name, address);
  out.end();
  out.member("allow_private", network.allow_private).member("upstream_proxy", network.upstream_proxy.reveal()).end();
  return out.take_line();
}

std::string register_line(const RegistrationText& r) {
  json::Writer out;
  out.object().member("op", "register").member("process", r.process).member("server", r.server).member("uid", r.uid);
  out.member("sandbox", r.sandbox);
  out.member("token_sha256", r.token_sha256).member("phase", r.phase);
  out.object("policy").member("mode", r.policy.mode).member("allow", r.policy.allow);
  out.member("install_allow", r.policy.install_allow).member("registries", r.policy.registries).end();
  out.array("secrets");
  for (const Secret& secret : r.secrets) out.value(secret.reveal());
  out.end().end();
  return out.take_line();
}

std::string unregister_line(std::string_view process) {
  return json::Writer().object().member("op", "unregister").member("process", process).end().take_line();
}
std::string ping_line() {
  return json::Writer().object().member("op", "ping").end().take_line();
}

std::string control_ok() {
  return json::Writer().object().member("ok", true).end().take_line();
}
std::string control_error(const Error& error) {
  json::Writer out;
  out.object().member("error", error.message()).member("code", static_cast<int>(error.code())).end();
  return out.take_line();
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
