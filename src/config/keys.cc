#include "config/keys.h"

#include <algorithm>
#include <array>

namespace mcpbox::config {
namespace {

using Keys = std::string_view;

constexpr Keys kSettings[] = {"version", "engine", "box", "egress", "workspace", "daemon", "log", "servers"};
constexpr Keys kEngine[] = {"address"};
constexpr Keys kBox[] = {"image",      "limits",    "ca_bundle",    "install_env",     "install_mode",
                         "wheelhouse", "npm_cache", "env_quota_mb", "sandbox_idle_sec"};
constexpr Keys kLimits[] = {"cpus", "memory_mb", "pids_limit"};
constexpr Keys kWorkspace[] = {"allowed_roots"};
constexpr Keys kDaemon[] = {"socket", "state_dir"};
constexpr Keys kLog[] = {"level", "format"};
constexpr Keys kServer[] = {"mode", "enable", "command", "args", "env", "cwd", "tool_call_timeout_sec", "box"};
constexpr Keys kServerBox[] = {
    "image", "network",   "host_path",  "host_path_mode",   "env",       "startup_timeout_sec",
    "cpus",  "memory_mb", "pids_limit", "read_only_rootfs", "isolation", "mounts"};
constexpr Keys kNetwork[] = {"mode", "allow", "install_allow"};
constexpr Keys kEgress[] = {"hosts", "allow_private", "upstream_proxy", "ca_bundle"};
constexpr Keys kMount[] = {"host_path", "mode"};

constexpr std::array kSections = {
    Section{"settings", kSettings}, Section{"engine", kEngine},       Section{"box", kBox},
    Section{"limits", kLimits},     Section{"workspace", kWorkspace}, Section{"daemon", kDaemon},
    Section{"log", kLog},           Section{"server", kServer},       Section{"server_box", kServerBox},
    Section{"mount", kMount},       Section{"network", kNetwork},     Section{"egress", kEgress},
};

struct Hint {
  std::string_view section, key, text;
};
constexpr std::string_view kRemote = "remote servers come later; only stdio servers (command, args) are supported now";
constexpr Hint kHints[] = {
    {"settings", "mcpServers", "did you mean 'servers'? Its entries have the same command, args and env"},
    {"settings", "mcp_servers", "did you mean 'servers'?"},
    {"settings", "allowed_roots", "it belongs under 'workspace:'"},
    {"settings", "image", "it belongs under 'box:'"},
    {"settings", "ca_bundle", "it belongs under 'box:'"},
    {"settings", "install_mode", "it belongs under 'box:'"},
    {"server", "type", "did you mean 'mode'?"},
    {"server", "transport", "did you mean 'mode'?"},
    {"server", "environment", "did you mean 'env'?"},
    {"server", "disabled", "the word here is 'enable': false keeps a server from being started"},
    {"server", "timeout", "did you mean 'tool_call_timeout_sec'?"},
    {"server", "workdir", "did you mean 'cwd'?"},
    {"server", "url", kRemote},
    {"server", "headers", kRemote},
    {"server", "network", "it belongs under 'box:'"},
    {"server", "allow", "it belongs under 'box: {network: …}'"},
    {"server_box", "allow", "it belongs under 'network:'"},
    {"server_box", "install_allow", "it belongs under 'network:'"},
    {"settings", "allow_private", "it belongs under 'egress:'"},
    {"settings", "network", "it belongs under 'box:' of a server"},
    {"box", "network", "it belongs under 'box:' of a server"},
    {"network", "allow_private", "it belongs under 'egress:' at the top, because it holds for all servers"},
    {"egress", "proxy", "did you mean 'upstream_proxy'?"},
    {"server", "image", "it belongs under 'box:'"},
    {"server", "mounts", "it belongs under 'box:'"},
    {"server", "host_path", "it belongs under 'box:'"},
    {"server", "isolation", "it belongs under 'box:'"},
    {"server_box", "memory", "did you mean 'memory_mb'?"},
    {"server_box", "extra_mounts", "did you mean 'mounts'?"},
    {"server_box", "volumes", "did you mean 'mounts'?"},
    {"limits", "memory", "did you mean 'memory_mb'?"},
    {"limits", "pids", "did you mean 'pids_limit'?"},
    {"mount", "host", "did you mean 'host_path'?"},
    {"mount", "path", "did you mean 'host_path'?"},
};

}  // namespace

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::span<const Section> sections() {
  return kSections;
}

std::span<const std::string_view> keys_of(std::string_view section) {
  for (const Section& s : kSections) {
    if (s.name == section) return s.keys;
  }
  return {};
}

std::string_view hint_for(std::string_view section, std::string_view key) {
  for (const Hint& hint : kHints) {
    if (hint.section == section && hint.key == key) return hint.text;
  }
  return {};
}

}  // namespace mcpbox::config
