// Part of sections.h: decodes one entry of `servers:`.
#include <fmt/format.h>

#include <algorithm>

#include "base/own_words.h"
#include "base/text.h"
#include "config/ports.h"
#include "config/sections.h"

namespace mcpbox::config {
namespace {

constexpr std::string_view kServer[] = {"mode", "enable", "command", "args", "env", "cwd", "tool_call_timeout_sec",
                                        "box"};
constexpr std::string_view kServerBox[] = {
    "image",     "network",   "host_path",  "host_path_mode", "env",       "startup_timeout_sec",
    "cpus",      "memory_mb", "pids_limit", "disk_mb",        "max_files", "read_only_rootfs",
    "isolation", "mounts",    "ports",      "accept_degraded"};
constexpr std::string_view kMount[] = {"host_path", "mode"};
constexpr Section kServerSections[] = {{"server", kServer, "servers.NAME"},
                                       {"server_box", kServerBox, "servers.NAME.box"},
                                       {"mount", kMount, "servers.NAME.box.mounts"}};
constexpr std::string_view kRemote = "remote servers come later; only stdio servers (command, args) are supported now";
constexpr Hint kServerHints[] = {
    {"server", "type", "did you mean 'mode'?"},
    {"server", "transport", "did you mean 'mode'?"},
    {"server", "environment", "did you mean 'env'?"},
    {"server", "disabled", "the word here is 'enable': false keeps a server from being started"},
    {"server", "timeout", "did you mean 'tool_call_timeout_sec'?"},
    {"server", "workdir", "did you mean 'cwd'?"},
    {"server", "url", kRemote},
    {"server", "headers", kRemote},
    {"server_box", "publish", "did you mean 'ports'?"},
    {"server_box", "port", "did you mean 'ports'?"},
    {"server_box", "memory", "did you mean 'memory_mb'?"},
    {"server_box", "pids", "did you mean 'pids_limit'?"},
    {"server_box", "disk", "did you mean 'disk_mb'?"},
    {"server_box", "files", "did you mean 'max_files'?"},
    {"server_box", "extra_mounts", "did you mean 'mounts'?"},
    {"server_box", "volumes", "did you mean 'mounts'?"},
    {"mount", "host", "did you mean 'host_path'?"},
    {"mount", "path", "did you mean 'host_path'?"},
};

constexpr std::size_t kTellingName = 8;  // shorter names of programs are words

constexpr std::string_view kServerModes[] = {"stdio"};  // in the order of Mode
constexpr std::string_view kPathModes[] = {"none", "ro", "rw"};
constexpr std::string_view kMountModes[] = {"ro", "rw"};
constexpr std::string_view kIsolations[] = {"shared", "dedicated"};

bool is_server_name(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= 64 && alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

// "DIR", "DIR:ro" or "DIR:rw".
void decode_mount_text(Decoder& decoder, const Node& node, const std::string& path, MountSettings& mount) {
  std::string text;
  decoder.text(node, path, text);
  if (text.ends_with(":rw")) mount.access = Access::kReadWrite;
  if (text.ends_with(":rw") || text.ends_with(":ro")) {
    text.resize(text.size() - 3);
    if (text.empty()) decoder.problem(node, fmt::format("{}: it names no directory: write DIR:ro or DIR:rw", path));
  }
  if (!text.empty()) decoder.path_text(node, text, path, Decoder::Must::kBeDirectory, mount.host);
}

void decode_mounts(Decoder& decoder, const Node& node, const std::string& path, std::vector<MountSettings>& mounts,
                   std::vector<Written>& written) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kSequence) {
    decoder.problem(node, fmt::format("{}: expected a list of DIR, DIR:ro, DIR:rw or {{host_path, mode}}", path));
    return;
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const Node& item = node.items[i];
    const std::string where = fmt::format("{}[{}]", path, i);
    MountSettings mount;
    if (item.kind == Node::Kind::kMap) {
      const auto map = decoder.map(item, "mount", where);
      if (const Node* host = map.find("host_path")) {
        decoder.path(*host, where + ".host_path", Decoder::Must::kBeDirectory, mount.host);
      } else {
        decoder.problem(item, fmt::format("{}: 'host_path' is missing", where));
      }
      if (const Node* mode = map.find("mode")) {
        if (const auto index = decoder.choice(*mode, where + ".mode", kMountModes)) {
          mount.access = *index == 0 ? Access::kReadOnly : Access::kReadWrite;
        }
      }
    } else {
      decode_mount_text(decoder, item, where, mount);
    }
    if (mount.host.empty()) continue;
    written.push_back({mount.host, item.line, item.column});
    mounts.push_back(std::move(mount));
  }
}

void decode_ports(Decoder& decoder, const Node& node, const std::string& path, std::vector<PublishedPort>& ports) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kSequence) {
    decoder.problem(node, fmt::format("{}: expected a list of PORT or HOST:SERVER, as in [8080, \"8081:3000\"]", path));
    return;
  }
  if (node.items.size() > kMaxPublishedPorts)
    decoder.problem(node, fmt::format("{}: a server has at most {} published ports", path, kMaxPublishedPorts));
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", path, i);
    std::string text;
    decoder.text(node.items[i], where, text);
    if (text.empty()) continue;
    const auto port = parse_port(text);
    if (!port) {
      decoder.problem(node.items[i], fmt::format("{}: {}", where, port.error().message()));
    } else if (std::ranges::any_of(ports, [&](const PublishedPort& other) { return other.host == port->host; })) {
      decoder.problem(node.items[i], fmt::format("{}: port {} of this host stands here twice", where, port->host));
    } else {
      ports.push_back(*port);
    }
  }
}

void decode_host_path(Decoder& decoder, const Node& node, const std::string& path,
                      const std::vector<std::string>& allowed_roots, ServerBoxSettings& box) {
  std::string host;
  decoder.path(node, path, Decoder::Must::kBeDirectory, host);
  if (host.empty()) return;
  const bool allowed =
      std::any_of(allowed_roots.begin(), allowed_roots.end(), [&](const auto& root) { return is_beneath(host, root); });
  if (!allowed) {
    const std::string shown = printable(node.text.find("${") == std::string::npos ? host : node.text, 300);
    decoder.problem(
        node, fmt::format(
                  "{}: '{}' is outside workspace.allowed_roots{}; add '{}' (or a directory above it) there to allow it",
                  path, shown, allowed_roots.empty() ? ", which is empty" : "", shown));
    return;
  }
  box.host_path = std::move(host);
}

// Without a word of what is wrong with the map: whoever decodes it says that.
const Node* entry_of(const Node* map, std::string_view key) {
  if (map == nullptr) return nullptr;
  const auto found = std::ranges::find_if(map->entries, [&](const Entry& entry) { return entry.key.text == key; });
  return found == map->entries.end() ? nullptr : &found->value;
}

// Where the rules stand; nowhere when one of them cannot be read.
void note_rules(const Node& network, std::string_view key, const std::vector<std::string>& rules,
                std::vector<Written>& written) {
  const Node* const list = entry_of(&network, key);
  if (list == nullptr || list->items.size() != rules.size()) return;
  for (std::size_t i = 0; i < rules.size(); ++i)
    written.push_back({rules[i], list->items[i].line, list->items[i].column});
}

void decode_server_box(Decoder& decoder, const Node& node, const std::string& path,
                       const std::vector<std::string>& allowed_roots, ServerSettings& server) {
  ServerBoxSettings& box = server.box;
  const auto map = decoder.map(node, "server_box", path);
  const auto at = [&](std::string_view key) { return fmt::format("{}.{}", path, key); };
  if (const Node* image = map.find("image")) {
    std::string text;
    decoder.text(*image, at("image"), text);
    if (!text.empty()) box.image = std::move(text);
  }
  if (const Node* network = map.find("network")) {
    decode_network(decoder, *network, at("network"), box.network);
    note_rules(*network, "allow", box.network.allow, server.written);
    note_rules(*network, "install_allow", box.network.install_allow, server.written);
  }
  const Node* const host_path = map.find("host_path");
  if (host_path != nullptr) decode_host_path(decoder, *host_path, at("host_path"), allowed_roots, box);
  if (box.host_path) server.written.push_back({*box.host_path, host_path->line, host_path->column});
  if (const Node* mode = map.find("host_path_mode")) {
    if (const auto index = decoder.choice(*mode, at("host_path_mode"), kPathModes)) {
      box.host_path_mode = *index == 2 ? Access::kReadWrite : Access::kReadOnly;
      if (*index == 0) box.host_path.reset();
    }
  }
  if (const Node* timeout = map.find("startup_timeout_sec")) {
    std::uint64_t seconds = static_cast<std::uint64_t>(box.startup_timeout.count());
    decoder.whole(*timeout, at("startup_timeout_sec"), 1, 86'400, seconds);
    box.startup_timeout = std::chrono::seconds(seconds);
  }
  if (const Node* cpus = map.find("cpus")) {
    double value = 0;
    decoder.decimal(*cpus, at("cpus"), 0.01, 1024, value);
    if (value > 0) box.cpus = value;
  }
  if (const Node* memory = map.find("memory_mb")) {
    std::uint64_t value = 0;
    decoder.whole(*memory, at("memory_mb"), 16, 16'777'216, value);
    if (value > 0) box.memory_mb = value;
  }
  if (const Node* pids = map.find("pids_limit")) {
    std::uint64_t value = 0;
    decoder.whole(*pids, at("pids_limit"), 8, 4'194'304, value);
    if (value > 0) box.pids_limit = value;
  }
  if (const Node* disk = map.find("disk_mb")) {
    std::uint64_t value = 0;
    decoder.whole(*disk, at("disk_mb"), 16, 1u << 30, value);
    if (value > 0) box.disk_mb = value;
  }
  if (const Node* files = map.find("max_files")) {
    std::uint64_t value = 0;
    decoder.whole(*files, at("max_files"), 100, 1'000'000'000, value);
    if (value > 0) box.max_files = value;
  }
  if (const Node* rootfs = map.find("read_only_rootfs")) {
    bool value = true;
    decoder.boolean(*rootfs, at("read_only_rootfs"), value);
    box.read_only_rootfs = value;
  }
  if (const Node* mounts = map.find("mounts"))
    decode_mounts(decoder, *mounts, at("mounts"), box.mounts, server.written);
  if (const Node* ports = map.find("ports")) decode_ports(decoder, *ports, at("ports"), box.ports);
  if (const Node* accepted = map.find("accept_degraded"))
    decoder.choices(*accepted, at("accept_degraded"), kDegradations, box.accept_degraded);
  const Node* const isolation = map.find("isolation");
  if (isolation != nullptr) {
    if (const auto index = decoder.choice(*isolation, at("isolation"), kIsolations)) {
      box.isolation = *index == 1 ? Isolation::kDedicated : Isolation::kShared;
      if (*index == 0 && !box.mounts.empty()) {
        decoder.problem(*isolation,
                        fmt::format("{}: a server with mounts gets a sandbox of its own; remove 'isolation: shared'",
                                    at("isolation")));
      }
    }
  }
  if (!box.mounts.empty()) box.isolation = Isolation::kDedicated;
}

}  // namespace

KeyTable server_keys() {
  return {kServerSections, kServerHints};
}

void decode_referring(Decoder& decoder, const ServerReferences& from, ServerSettings& server) {
  if (from.command) {
    decoder.text(*from.command, from.path + ".command", server.command);
    // A program that is not there is told by its name too.
    const std::string name = server.command.substr(server.command.rfind('/') + 1);
    if (from.command->text.contains("${") && name.size() >= kTellingName) decoder.learn(name);
  }
  if (from.args) decoder.texts(*from.args, from.path + ".args", server.args);
  if (from.env) decoder.env(*from.env, from.path + ".env", server.env);
  if (from.box_env) decoder.env(*from.box_env, from.path + ".box.env", server.box.env);
}

void decode_server(Decoder& decoder, const Node& key, const Node& node, const std::vector<std::string>& allowed_roots,
                   ServerSettings& server) {
  server.name = key.text;
  server.line = key.line;
  server.column = key.column;
  const std::string path = fmt::format("servers.{}", printable(key.text, 70));
  if (is_server_name(key.text)) {
    keep_own_name(key.text);
  } else {
    decoder.problem(
        key, fmt::format(
                 "'{}' is no name for a server: 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit",
                 printable(key.text, 70)));
  }
  const auto map = decoder.map(node, "server", path);
  if (const Node* mode = map.find("mode")) {
    const auto* const found = std::ranges::find(kServerModes, mode->text);
    if (mode->kind == Node::Kind::kScalar && found != std::end(kServerModes)) {
      server.mode = static_cast<Mode>(found - std::begin(kServerModes));
    } else {
      decoder.problem(*mode, fmt::format("{}.mode: remote servers come later; only stdio is supported now", path));
    }
  }
  if (const Node* enable = map.find("enable")) decoder.boolean(*enable, path + ".enable", server.enable);
  auto from = std::make_shared<ServerReferences>();
  from->file = decoder.file();
  from->path = path;
  const auto copy = [](const Node* part) { return part == nullptr ? std::nullopt : std::optional(*part); };
  from->command = copy(map.find("command"));
  from->args = copy(map.find("args"));
  from->env = copy(map.find("env"));
  from->box_env = copy(entry_of(map.find("box"), "env"));
  bool any = false;
  {
    const Decoder::Later later(decoder, from->helpers, any);
    decode_referring(decoder, *from, server);
  }
  if (any) server.references = std::move(from);
  if (const Node* command = map.find("command")) {
    server.written.push_back({server.command, command->line, command->column});
  } else if (node.kind == Node::Kind::kMap || node.kind == Node::Kind::kNull) {
    decoder.problem(
        key, fmt::format("{}: 'command' is missing: the program that is the server, as in 'command: npx'", path));
  }
  if (const Node* args = map.find("args")) {
    // What cannot be read is left out of args; then nothing is planned.
    for (std::size_t i = 0; i < server.args.size() && server.args.size() == args->items.size(); ++i)
      server.written.push_back({server.args[i], args->items[i].line, args->items[i].column});
  }
  if (const Node* cwd = map.find("cwd")) {
    std::string directory;
    decoder.path(*cwd, path + ".cwd", Decoder::Must::kBeDirectory, directory);
    if (!directory.empty()) {
      server.written.push_back({directory, cwd->line, cwd->column});
      server.cwd = std::move(directory);
    }
  }
  if (const Node* timeout = map.find("tool_call_timeout_sec")) {
    std::uint64_t seconds = static_cast<std::uint64_t>(server.tool_call_timeout.count());
    decoder.whole(*timeout, path + ".tool_call_timeout_sec", 0, 86'400, seconds);
    server.tool_call_timeout = std::chrono::seconds(seconds);
  }
  if (const Node* box = map.find("box")) decode_server_box(decoder, *box, path + ".box", allowed_roots, server);
}

}  // namespace mcpbox::config
