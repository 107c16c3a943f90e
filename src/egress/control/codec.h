// The lines that mcpbox and `mcpbox egress` exchange: one JSON object a line, each command answered by one line.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "egress/rules/destination.h"
#include "egress/rules/registry.h"

namespace mcpbox::egress {

inline constexpr std::size_t kMaxControlLine = 1u << 20;

struct ConfigureCommand {
  NetworkSettings settings;
};
struct RegisterCommand {
  Registration registration;
  std::vector<Secret> secrets;
};
struct UnregisterCommand {
  std::string process;
};
struct PingCommand {};
using ControlCommand = std::variant<ConfigureCommand, RegisterCommand, UnregisterCommand, PingCommand>;

// A policy that is missing or cannot be read is an error: nothing is registered then, which denies all.
Result<ControlCommand> parse_control(std::string_view line);

// What a controller sends, as configured by people; texts are checked by the receiver.
struct PolicyText {
  std::string mode = "none";
  std::vector<std::string> allow, install_allow, registries;
};
struct RegistrationText {
  std::string process, server;
  uid_t uid = 0;
  std::string sandbox;
  std::string token_sha256;
  std::string phase = "run";
  PolicyText policy;
  std::vector<Secret> secrets;  // of the process: what it asks for is written down without them
};
struct NetworkText {
  std::map<std::string, std::string> hosts;
  std::vector<std::string> allow_private;
  Secret upstream_proxy;  // URL, may hold a password
};
// Each with its line feed.
std::string configure_line(const NetworkText& network);
std::string register_line(const RegistrationText& registration);
std::string unregister_line(std::string_view process);
std::string ping_line();

Result<NetworkSettings> parse_network(const NetworkText& network);
Result<Policy> parse_policy(const PolicyText& policy);

std::string control_ok();
std::string control_error(const Error& error);
// The answer as the controller takes it.
Result<void> parse_control_answer(std::string_view line);

}  // namespace mcpbox::egress
