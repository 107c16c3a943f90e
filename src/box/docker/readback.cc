// Part of profile.h: is what the engine made what it was asked for?
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/secrets.h"
#include "base/text.h"
#include "box/docker/json.h"
#include "box/docker/profile.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;

std::string capability(const json& name) {
  std::string text = name.is_string() ? name.get<std::string>() : "?";
  return text.starts_with("CAP_") ? text.substr(4) : text;
}

std::set<std::string> capabilities(const json& list) {
  std::set<std::string> out;
  if (list.is_array()) {
    for (const auto& name : list) out.insert(capability(name));
  }
  return out;
}

bool is_empty(const json& value) {
  return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         (value.is_structured() && value.empty()) || value == false || value == 0;
}

bool same_capabilities_dropped(const json& sent, const json& made, bool podman) {
  const auto dropped = capabilities(made);
  if (dropped == capabilities(sent) || dropped.contains("ALL")) return true;
  if (!podman) return false;
  // Podman lists what "ALL" came to: its default set without what was added.
  for (const char* name : {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "NET_BIND_SERVICE", "SETFCAP", "SYS_CHROOT"}) {
    if (!dropped.contains(name)) return false;
  }
  return true;
}

std::set<std::string> security_options(const json& list) {
  std::set<std::string> out;
  if (!list.is_array()) return out;
  for (const auto& option : list) {
    std::string text = option.is_string() ? option.get<std::string>() : "?";
    if (text == "no-new-privileges") text += ":true";
    out.insert(std::move(text));
  }
  return out;
}

std::set<std::string> ulimits(const json& list) {
  std::set<std::string> out;
  if (!list.is_array()) return out;
  for (const auto& limit : list) {
    std::string name = string_at(limit, {"Name"});
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (name.starts_with("rlimit_")) name.erase(0, 7);  // Podman's spelling
    out.insert(name + " " + std::to_string(integer_at(limit, {"Soft"})) + " " +
               std::to_string(integer_at(limit, {"Hard"})));
  }
  return out;
}

// Every member that was sent must be there; engines add members with defaults.
bool contains(const json& sent, const json& made) {
  if (sent.is_object()) {
    return std::ranges::all_of(sent.items(), [&](const auto& item) {
      const auto& value = member(made, {item.key().c_str()});
      return contains(item.value(), value) || (is_empty(item.value()) && is_empty(value));
    });
  }
  if (sent.is_array()) {
    return made.is_array() && made.size() == sent.size() && std::ranges::all_of(sent, [&](const json& entry) {
             return std::ranges::any_of(made, [&](const json& other) { return contains(entry, other); });
           });
  }
  return sent == made;
}

bool same_host_field(const std::string& name, const json& sent, const json& made, const DockerFacts& facts) {
  if (name == "CapAdd") return capabilities(sent) == capabilities(made);
  if (name == "CapDrop") return same_capabilities_dropped(sent, made, facts.podman);
  if (name == "SecurityOpt") return security_options(sent) == security_options(made);
  if (name == "MaskedPaths" || name == "ReadonlyPaths") return made.is_array() && made.empty();
  if (name == "Ulimits") {
    const auto wanted = ulimits(sent), found = ulimits(made);
    return std::ranges::includes(found, wanted);  // an engine may have defaults for others
  }
  if (name == "MemorySwap" && !facts.swap_limit) return made == sent || made == -1 || made == 0;
  if (name == "PidMode" || name == "UTSMode" || name == "UsernsMode") return is_empty(made) || made == "private";
  if (name == "LogConfig") return string_at(made, {"Type"}) == "none";
  if (name == "Tmpfs" && facts.podman)
    return made.is_object() && made.size() == sent.size();  // its options come back reordered
  if (name == "Mounts" && facts.podman) return true;        // compared through the effective mounts below
  return contains(sent, made) || (is_empty(sent) && is_empty(made));
}

// What we never send and what must have stayed empty.
constexpr const char* kMustBeEmpty[] = {"Binds",       "Devices",        "DeviceRequests", "DeviceCgroupRules",
                                        "VolumesFrom", "PortBindings",   "Links",          "GroupAdd",
                                        "ExtraHosts",  "OomKillDisable", "Sysctls"};

std::unexpected<Error> differs(const std::string& field, const json& sent, const json& made) {
  return fail(Code::kFailedPrecondition, "the engine made a different container than asked: " + field + " is " +
                                             from_outside(dump_json(made), 300) + " instead of " +
                                             printable(dump_json(sent), 300));
}

// The mounts that the container really has: none that we did not ask for, none writable that should not be.
Result<void> check_effective_mounts(const json& sent_host, const json& made) {
  std::map<std::string, bool> wanted;  // target → writable
  for (const auto& mount : member(sent_host, {"Mounts"}))
    wanted[string_at(mount, {"Target"})] = !bool_at(mount, {"ReadOnly"});
  const auto& tmpfs = member(sent_host, {"Tmpfs"});
  const auto& effective = member(made, {"Mounts"});
  if (effective.is_array()) {
    for (const auto& mount : effective) {
      const std::string target = string_at(mount, {"Destination"});
      if (string_at(mount, {"Type"}) == "tmpfs" && tmpfs.contains(target)) continue;
      const auto found = wanted.find(target);
      if (found == wanted.end()) return differs("Mounts[" + printable(target, 200) + "]", nullptr, mount);
      if (bool_at(mount, {"RW"}, true) && !found->second)
        return differs("Mounts[" + printable(target, 200) + "].RW", false, true);
      wanted.erase(found);
    }
  }
  if (!wanted.empty()) return differs("Mounts[" + printable(wanted.begin()->first, 200) + "]", "a mount", nullptr);
  return {};
}

Result<void> check_config(const json& sent, const json& made, const DockerFacts& facts) {
  for (const char* name : {"User", "WorkingDir", "Hostname"}) {
    if (string_at(sent, {name}) != string_at(made, {"Config", name}))
      return differs(name, sent[name], member(made, {"Config", name}));
  }
  for (const char* name : {"Entrypoint", "Cmd"}) {
    const auto& value = member(made, {"Config", name});
    if (value != sent[name] && !(is_empty(sent[name]) && is_empty(value))) return differs(name, sent[name], value);
  }
  for (const char* name : {"Tty", "OpenStdin"}) {
    if (bool_at(made, {"Config", name})) return differs(name, false, true);
  }
  const auto& env = member(made, {"Config", "Env"});
  const std::set<json> wanted_env(sent["Env"].begin(), sent["Env"].end());
  for (const auto& entry : env.is_array() ? env : json::array()) {
    const bool harmless = facts.podman && entry.is_string() &&
                          (entry.get_ref<const std::string&>().starts_with("container=") ||
                           entry.get_ref<const std::string&>().starts_with("HOSTNAME=") ||
                           entry.get_ref<const std::string&>().starts_with("HOME="));
    if (!harmless && !wanted_env.contains(entry)) return differs("Env", sent["Env"], env);
  }
  const auto labels = strings_at(made, {"Config", "Labels"});
  for (const auto& [name, value] : labels) {
    if (!name.starts_with(kLabelPrefix)) continue;
    if (string_at(sent["Labels"], {name.c_str()}) != value)
      return differs("Labels[" + printable(name, 100) + "]", sent["Labels"], value);
  }
  for (const auto& [name, value] : sent["Labels"].items()) {
    if (!labels.contains(name)) return differs("Labels[" + printable(name, 100) + "]", value, nullptr);
  }
  const std::string image = string_at(made, {"Image"});
  const std::string wanted_image = string_at(sent, {"Image"});
  if (image != wanted_image && "sha256:" + image != wanted_image) return differs("Image", sent["Image"], image);
  return {};
}

}  // namespace

Result<void> check_docker_container(std::string_view sent_body, std::string_view inspect_json,
                                    const DockerFacts& facts) {
  auto sent = parse_docker_json(sent_body, "our own request");
  auto made = parse_docker_json(inspect_json, "the container's description");
  if (!sent) return fail(std::move(sent).error());
  if (!made) return fail(std::move(made).error());
  if (auto checked = check_config(*sent, *made, facts); !checked) return checked;
  const auto& host = member(*made, {"HostConfig"});
  for (const auto& [name, value] : (*sent)["HostConfig"].items()) {
    const auto& found = member(host, {name.c_str()});
    if (!same_host_field(name, value, found, facts)) return differs("HostConfig." + name, value, found);
  }
  for (const char* name : kMustBeEmpty) {
    const auto& found = member(host, {name});
    if (!is_empty(found)) return differs(std::string("HostConfig.") + name, nullptr, found);
  }
  // An empty list (not an absent one) is how "systempaths=unconfined" shows.
  for (const char* name : {"MaskedPaths", "ReadonlyPaths"}) {
    const auto& found = member(host, {name});
    const bool ours = member(*sent, {"HostConfig", name}).is_array();
    if (found.is_array() && found.empty() && !ours)
      return differs(std::string("HostConfig.") + name, "the engine's defaults", found);
  }
  if (string_at(*made, {"AppArmorProfile"}) == "unconfined") return differs("AppArmorProfile", "", "unconfined");
  return check_effective_mounts((*sent)["HostConfig"], *made);
}

}  // namespace mcpbox::box
