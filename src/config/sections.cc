#include "config/sections.h"

#include <fmt/format.h>

#include "base/text.h"
#include "config/shares.h"

namespace mcpbox::config {
namespace {

constexpr std::string_view kSettings[] = {"version", "engine", "box",     "egress",         "workspace",
                                          "daemon",  "log",    "servers", "accept_degraded"};
constexpr std::string_view kEngine[] = {"address"};
constexpr std::string_view kBox[] = {"image",      "limits",    "ca_bundle",    "install_env",     "install_mode",
                                     "wheelhouse", "npm_cache", "env_quota_mb", "sandbox_idle_sec"};
constexpr std::string_view kLimits[] = {"cpus", "memory_mb", "pids_limit", "disk_mb", "max_files", "overcommit"};
constexpr std::string_view kWorkspace[] = {"allowed_roots"};
constexpr std::string_view kDaemon[] = {"socket", "state_dir"};
constexpr std::string_view kLog[] = {"level", "format"};
constexpr Section kTopSections[] = {{"settings", kSettings, ""},
                                    {"engine", kEngine, "engine"},
                                    {"box", kBox, "box"},
                                    {"limits", kLimits, "box.limits"},
                                    {"workspace", kWorkspace, "workspace"},
                                    {"daemon", kDaemon, "daemon"},
                                    {"log", kLog, "log"}};
constexpr Hint kTopHints[] = {
    {"settings", "mcpServers", "did you mean 'servers'? Its entries have the same command, args and env"},
    {"settings", "mcp_servers", "did you mean 'servers'?"},
    {"settings", "ca_bundle", "it belongs under 'box'"},  // also under 'egress', for who has it there already
    {"limits", "memory", "did you mean 'memory_mb'?"},
    {"limits", "pids", "did you mean 'pids_limit'?"},
    {"limits", "disk", "did you mean 'disk_mb'?"},
    {"limits", "files", "did you mean 'max_files'?"},
};

constexpr std::string_view kLevels[] = {"debug", "info", "warning", "error", "off"};
constexpr std::string_view kInstallModes[] = {"open", "locked", "offline"};  // in the order of InstallMode
constexpr std::string_view kFormats[] = {"text", "json"};

void check_version(Decoder& decoder, const Node& root, const Node* version) {
  if (version == nullptr) {
    Node top;
    top.line = top.column = 1;
    decoder.problem(root.kind == Node::Kind::kMap ? top : root,
                    "'version: 1' is missing; it says which form of this file is meant");
  } else if (version->kind != Node::Kind::kScalar || !version->plain || version->text != "1") {
    const bool quoted = version->kind == Node::Kind::kScalar && version->text == "1";
    const std::string found = quoted ? "; write it without quotes"
                              : version->kind == Node::Kind::kScalar
                                  ? fmt::format(", not '{}'", printable(version->text, 40))
                                  : "";
    decoder.problem(*version, fmt::format("version: this mcpbox reads version 1{}", found));
  }
}

void decode_engine(Decoder& decoder, const Node& node, EngineSettings& engine) {
  const Node* address = &node;
  std::string path = "engine";
  if (node.kind != Node::Kind::kScalar) {
    address = decoder.map(node, "engine", path).find("address");
    path = "engine.address";
  }
  if (address == nullptr) return;
  decoder.engine(*address, path, engine.address);
}

void decode_box(Decoder& decoder, const Node& node, BoxSettings& box) {
  const auto map = decoder.map(node, "box", "box");
  if (const Node* image = map.find("image")) decoder.text(*image, "box.image", box.image);
  if (const Node* limits = map.find("limits")) {
    const auto values = decoder.map(*limits, "limits", "box.limits");
    if (const Node* cpus = values.find("cpus")) decoder.decimal(*cpus, "box.limits.cpus", 0.01, 1024, box.limits.cpus);
    if (const Node* memory = values.find("memory_mb"))
      decoder.whole(*memory, "box.limits.memory_mb", 16, 16'777'216, box.limits.memory_mb);
    if (const Node* pids = values.find("pids_limit"))
      decoder.whole(*pids, "box.limits.pids_limit", 8, 4'194'304, box.limits.pids);
    if (const Node* disk = values.find("disk_mb"))
      decoder.whole(*disk, "box.limits.disk_mb", 16, 1u << 30, box.limits.disk_mb);
    if (const Node* files = values.find("max_files"))
      decoder.whole(*files, "box.limits.max_files", 100, 1'000'000'000, box.limits.max_files);
    if (const Node* factor = values.find("overcommit"))
      decoder.decimal(*factor, "box.limits.overcommit", 1, 100, box.limits.overcommit);
  }
  if (const Node* bundle = map.find("ca_bundle")) {
    if (bundle->kind == Node::Kind::kScalar && (bundle->text == "system" || bundle->text == "none")) {
      box.ca_bundle = bundle->text;
    } else {
      decoder.certificates(*bundle, "box.ca_bundle", box.ca_bundle);
    }
  }
  if (const Node* env = map.find("install_env")) decoder.env(*env, "box.install_env", box.install_env);
  if (const Node* mode = map.find("install_mode")) {
    if (const auto index = decoder.choice(*mode, "box.install_mode", kInstallModes))
      box.install_mode = static_cast<InstallMode>(*index);
  }
  if (const Node* wheels = map.find("wheelhouse"))
    decoder.path(*wheels, "box.wheelhouse", Decoder::Must::kBeDirectory, box.wheelhouse);
  if (const Node* cache = map.find("npm_cache"))
    decoder.path(*cache, "box.npm_cache", Decoder::Must::kBeDirectory, box.npm_cache);
  if (const Node* quota = map.find("env_quota_mb"))
    decoder.whole(*quota, "box.env_quota_mb", 0, 1u << 30, box.env_quota_mb);
  if (const Node* idle = map.find("sandbox_idle_sec")) {
    auto seconds = static_cast<std::uint64_t>(box.sandbox_idle.count());
    decoder.whole(*idle, "box.sandbox_idle_sec", 0, 86'400, seconds);
    box.sandbox_idle = std::chrono::seconds(seconds);
  }
}

void decode_daemon(Decoder& decoder, const Node& node, DaemonSettings& daemon) {
  const auto map = decoder.map(node, "daemon", "daemon");
  if (const Node* socket = map.find("socket")) {
    decoder.path(*socket, "daemon.socket", Decoder::Must::kNothing, daemon.socket);
    if (daemon.socket.size() > 107) {  // sun_path, unix(7)
      decoder.problem(*socket, "daemon.socket: a socket's path has at most 107 bytes; choose a shorter one");
    }
  }
  if (const Node* state = map.find("state_dir"))
    decoder.path(*state, "daemon.state_dir", Decoder::Must::kNothing, daemon.state_dir);
}

void decode_workspace(Decoder& decoder, const Node& node, Settings& settings) {
  const Node* roots = decoder.map(node, "workspace", "workspace").find("allowed_roots");
  if (roots == nullptr || roots->kind == Node::Kind::kNull) return;
  if (roots->kind != Node::Kind::kSequence) {
    decoder.problem(*roots, "workspace.allowed_roots: expected a list of directories ('- DIR' lines)");
    return;
  }
  for (std::size_t i = 0; i < roots->items.size(); ++i) {
    std::string root;
    decoder.path(roots->items[i], fmt::format("workspace.allowed_roots[{}]", i), Decoder::Must::kBeDirectory, root);
    if (root.empty()) continue;
    settings.written_roots.push_back({root, roots->items[i].line, roots->items[i].column});
    settings.allowed_roots.push_back(std::move(root));
  }
}

void decode_servers(Decoder& decoder, const Node& node, const std::vector<std::string>& accepted, Settings& settings) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kMap) {
    decoder.problem(node, "servers: expected 'NAME:' with the server's keys below, for each server");
    return;
  }
  decoder.take_secrets();
  std::map<std::uint16_t, std::string> publishers;  // of ports of this host
  for (const auto& [key, value] : node.entries) {
    ServerSettings server;
    decode_server(decoder, key, value, settings.allowed_roots, server);
    server.box.accept_degraded.insert(server.box.accept_degraded.end(), accepted.begin(), accepted.end());
    server.secrets = decoder.take_secrets();
    for (const PublishedPort& port : server.box.ports) {
      if (!server.enable) break;  // an alternative, perhaps; a start of it finds the port taken
      const auto [other, first] = publishers.emplace(port.host, server.name);
      if (first) continue;
      const std::string name = printable(server.name, 70);
      decoder.problem(key, fmt::format("servers.{}.box.ports: port {} of this host is the one of server '{}' already; "
                                       "give '{}' another, as in \"{}:{}\"",
                                       name, port.host, printable(other->second, 70), name,
                                       port.host < 50'000 ? port.host + 1 : port.host - 1, port.server));
    }
    settings.servers.push_back(std::move(server));
  }
}

}  // namespace

KeyTable top_keys() {
  return {kTopSections, kTopHints};
}

void decode_settings(Decoder& decoder, const Node& root, Settings& settings) {
  const auto map = decoder.map(root, "settings", "the file");
  if (root.kind != Node::Kind::kMap && root.kind != Node::Kind::kNull) return;
  check_version(decoder, root, map.find("version"));
  if (const Node* engine = map.find("engine")) decode_engine(decoder, *engine, settings.engine);
  if (const Node* box = map.find("box")) decode_box(decoder, *box, settings.box);
  if (const Node* egress = map.find("egress")) decode_egress(decoder, *egress, settings);
  if (const Node* workspace = map.find("workspace")) decode_workspace(decoder, *workspace, settings);
  if (const Node* daemon = map.find("daemon")) decode_daemon(decoder, *daemon, settings.daemon);
  if (const Node* log = map.find("log")) {
    const auto values = decoder.map(*log, "log", "log");
    if (const Node* level = values.find("level")) {
      if (const auto index = decoder.choice(*level, "log.level", kLevels)) settings.log_level = kLevels[*index];
    }
    if (const Node* format = values.find("format")) {
      if (const auto index = decoder.choice(*format, "log.format", kFormats)) settings.log_format = kFormats[*index];
    }
  }
  std::vector<std::string> accepted;
  if (const Node* named = map.find("accept_degraded"))
    decoder.choices(*named, "accept_degraded", kDegradations, accepted);
  if (const Node* servers = map.find("servers")) decode_servers(decoder, *servers, accepted, settings);
  check_shares(decoder, settings);
  settings.secret_files = decoder.take_secret_files();
}

void decode_place(Decoder& decoder, const Node& root, Image image, Settings& settings) {
  const auto map = decoder.map(root, "settings", "the file");
  if (root.kind != Node::Kind::kMap && root.kind != Node::Kind::kNull) return;
  check_version(decoder, root, map.find("version"));
  if (const Node* engine = map.find("engine")) decode_engine(decoder, *engine, settings.engine);
  if (const Node* daemon = map.find("daemon")) decode_daemon(decoder, *daemon, settings.daemon);
  const Node* box = image == Image::kRead ? map.find("box") : nullptr;
  if (box == nullptr) return;
  if (const Node* named = decoder.map(*box, "box", "box").find("image"))
    decoder.text(*named, "box.image", settings.box.image);
}

}  // namespace mcpbox::config
