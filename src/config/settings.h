// The typed form of mcpbox.yaml. Every member has the default that an absent key means.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace mcpbox::config {

// References are resolved while loading (config/references.h: and again at each start). `secret`: is_secret_variable().
struct Value {
  Secret text;
  bool secret = true;
};

// `none` (or `off`): nothing while the server runs; `public` (or `on`): any public address.
enum class NetworkMode { kNone, kAllowlist, kPublic };
enum class Access { kReadOnly, kReadWrite };
enum class Isolation { kShared, kDedicated };
enum class Mode { kStdio };
// kLocked: only what a lock file, hashes or exact versions name. kOffline: only what is installed already, or from
// local folders.
enum class InstallMode { kOpen, kLocked, kOffline };

// `servers.<name>.box.network`. The lists hold rules (egress/policy.h) and names of presets (egress/presets.h); every
// rule was read once while loading.
struct ServerNetwork {
  NetworkMode mode = NetworkMode::kAllowlist;
  std::vector<std::string> allow;          // while it runs
  std::vector<std::string> install_allow;  // while its dependencies are installed, beyond the registries that they need
};

// `egress:` at the top: what holds for all servers. Checked while loading.
struct EgressSettings {
  std::map<std::string, std::string> hosts;  // NAME: ADDRESS, instead of DNS
  std::vector<std::string> allow_private;    // CIDRs
  std::optional<Secret> upstream_proxy;      // URL; absent = the user's own HTTPS_PROXY; empty ("none") = no such proxy
};

// A text of the file that may name a place of this host, as it was read, and where it stands.
struct Written {
  std::string text;  // may hold what a reference gave
  int line = 0;      // from 1
  int column = 0;    // from 1
};

// What `accept_degraded` may name: what a machine lacks of what is promised, and what a server is to be started
// without.
inline constexpr std::string_view kNoLandlock = "landlock";
inline constexpr std::string_view kNoNamespaces = "namespaces";
inline constexpr std::string_view kDegradations[] = {kNoLandlock, kNoNamespaces};

struct MountSettings {
  std::string host;  // canonical
  Access access = Access::kReadOnly;
};

// `host` of 127.0.0.1 and ::1 of this host leads to `server` of the server's own loopback.
struct PublishedPort {
  std::uint16_t host = 0, server = 0;
};

// Of a sandbox, all its servers together, but for disk_mb and max_files: those are of each server.
struct Limits {
  double cpus = 2.0;
  std::uint64_t memory_mb = 1536;
  std::uint64_t pids = 512;
  std::uint64_t disk_mb = 4096;
  std::uint64_t max_files = 200'000;
  double overcommit = 1;  // how often servers may name what the sandbox has (config/shares.h)
};

// `box:` at the top: what every sandbox gets.
struct BoxSettings {
  std::string image;  // empty = the runner image, built when missing
  Limits limits;
  std::string ca_bundle;  // host path of a PEM file, mounted read-only and named to every tool; "none"; "system" = the
                          // host's own, which must be there; empty = the host's own, if it is there
  std::map<std::string, Value> install_env;  // for installs only: PIP_INDEX_URL, npm_config_registry …
  InstallMode install_mode = InstallMode::kOpen;
  std::string wheelhouse;                 // host folder of wheels for kOffline; canonical; empty = none
  std::string npm_cache;                  // host folder, npm's cache, for kOffline; canonical; empty = none
  std::uint64_t env_quota_mb = 20'480;    // of all environments together; 0 = no quota
  std::chrono::seconds sandbox_idle{60};  // how long a sandbox stays that no server uses
};

// `servers.<name>.box`, with the field names of LangBot's MCPServerBoxConfig where it has them.
struct ServerBoxSettings {
  std::optional<std::string> image;
  ServerNetwork network;
  // Canonical (absolute, no links) after loading; relative ones are relative to the file.
  std::optional<std::string> host_path;
  Access host_path_mode = Access::kReadOnly;  // ro | rw
  std::map<std::string, Value> env;           // for the server, as its own env, which comes first
  std::chrono::seconds startup_timeout{300};
  std::optional<double> cpus;
  std::optional<std::uint64_t> memory_mb;
  std::optional<std::uint64_t> pids_limit;
  std::optional<std::uint64_t> disk_mb;
  std::optional<std::uint64_t> max_files;
  std::optional<bool> read_only_rootfs;
  Isolation isolation = Isolation::kShared;
  std::vector<MountSettings> mounts;         // a server with mounts is dedicated
  std::vector<PublishedPort> ports;          // no two servers of a file have one `host`
  std::vector<std::string> accept_degraded;  // of kDegradations; those of the whole file among them
};

struct ServerReferences;

struct ServerSettings {
  std::string name;  // the key: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}
  Mode mode = Mode::kStdio;
  bool enable = true;
  std::string command;
  std::vector<std::string> args;
  std::map<std::string, Value> env;
  std::optional<std::string> cwd;               // host path; canonical after loading
  std::chrono::seconds tool_call_timeout{300};  // 0 = none
  ServerBoxSettings box;
  // What references gave anywhere in this server: to be redacted from what is printed.
  std::vector<Secret> secrets;
  std::shared_ptr<const ServerReferences> references;  // null where command, args and env have none
  int line = 0;                                        // where the server stands in the file, for messages
  int column = 0;
  // host_path, mounts, cwd, command, args and the network's rules: what a planner may find fault with.
  std::vector<Written> written;
};

struct EngineSettings {
  std::string address;  // "auto" or empty, a word for an engine, or unix:///…
};

struct DaemonSettings {
  std::string socket;     // control socket; empty = default for this user
  std::string state_dir;  // empty = default for this user
};

struct Settings {
  std::string file;  // path that it was loaded from
  EngineSettings engine;
  BoxSettings box;
  EgressSettings egress;
  DaemonSettings daemon;
  std::vector<std::string> allowed_roots;  // workspace.allowed_roots, canonical
  std::vector<Written> written_roots;      // the same, one for one
  std::vector<std::string> secret_files;   // what ${file:…} names anywhere, absolute
  std::vector<ServerSettings> servers;     // in the order of the file
  std::string log_level = "info";
  std::string log_format = "text";
};

}  // namespace mcpbox::config
