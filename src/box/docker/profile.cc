#include "box/docker/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "box/docker/json.h"
#include "box/docker/seccomp_profile.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;

// PID 1 switches to a server's uid and gid, signals it, drops its bounding set (which takes SETPCAP), and takes one
// that it put behind its neighbours back to its own priority.
constexpr const char* kCapabilities[] = {"KILL", "SETGID", "SETPCAP", "SETUID", "SYS_NICE"};
constexpr std::string_view kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::size_t kMaxImageItems = 256;

std::string tmpfs_options(std::uint64_t size, std::uint64_t inodes, bool executable, bool read_only,
                          std::uint32_t mode) {
  return fmt::format("{},nosuid,nodev,{},size={},nr_inodes={},mode={:04o}", read_only ? "ro" : "rw",
                     executable ? "exec" : "noexec", size, inodes, mode);
}

json mounts_of(const SandboxSpec& spec, const json& labels) {
  json out = json::array();
  for (const auto& mount : spec.profile.mounts) {
    if (mount.kind == Mount::Kind::kMemory) continue;
    json entry{{"Target", mount.target}, {"ReadOnly", mount.read_only}};
    if (mount.kind == Mount::Kind::kBind) {
      entry["Type"] = "bind";
      entry["Source"] = mount.source;
      entry["BindOptions"] = {{"Propagation", "rprivate"}};
    } else {
      entry["Type"] = "volume";
      if (mount.kind == Mount::Kind::kVolume) entry["Source"] = mount.source;
      // NoCopy: what the image has at that place is not ours to give away.
      entry["VolumeOptions"] = {{"NoCopy", true}, {"Labels", labels}};
    }
    out.push_back(std::move(entry));
  }
  return out;
}

json tmpfs_of(const SandboxSpec& spec, const DockerImageFacts& image) {
  // For those who have the sandbox, but no /tmp, to themselves.
  json out{{"/tmp", tmpfs_options(64 << 20, 16384, true, false, 01777)},
           {"/run", tmpfs_options(1 << 20, 256, false, false, 0755)}};
  for (const auto& volume : image.volumes) out[volume] = tmpfs_options(4096, 1, false, true, 0555);
  for (const auto& mount : spec.profile.mounts) {
    if (mount.kind != Mount::Kind::kMemory) {
      out.erase(mount.target);
      continue;
    }
    const std::uint64_t size = mount.size_bytes == 0 ? 64ull << 20 : mount.size_bytes;
    out[mount.target] =
        tmpfs_options(size, std::max<std::uint64_t>(1024, size / 4096), true, mount.read_only, mount.mode);
  }
  return out;
}

json ulimit(const char* name, std::int64_t soft, std::int64_t hard) {
  return {{"Name", name}, {"Soft", soft}, {"Hard", hard}};
}

json host_config_of(const SandboxSpec& spec, const DockerFacts& facts, const DockerImageFacts& image,
                    const json& labels, DockerSpaces spaces) {
  const auto& limits = spec.profile.limits;
  // An engine refuses more processors than it has.
  const double cpus = facts.cpus > 0 ? std::min(limits.cpus, static_cast<double>(facts.cpus)) : limits.cpus;
  const auto processes = static_cast<std::int64_t>(limits.processes);
  json host{
      {"NetworkMode", "none"},
      {"IpcMode", "private"},
      {"PidMode", ""},
      {"UTSMode", ""},
      {"UsernsMode", ""},
      {"Privileged", false},
      {"CapDrop", {"ALL"}},
      {"CapAdd", kCapabilities},
      {"SecurityOpt", {"no-new-privileges:true"}},
      {"ReadonlyRootfs", spec.profile.read_only_root},
      {"PublishAllPorts", false},
      {"Init", false},
      {"AutoRemove", spec.remove_on_exit},
      {"RestartPolicy", {{"Name", "no"}}},
      {"Mounts", mounts_of(spec, labels)},
      {"Tmpfs", tmpfs_of(spec, image)},
      {"ShmSize", 64 << 20},
      {"Memory", limits.memory_bytes},
      {"MemorySwap", limits.memory_bytes},  // equal: no swap
      {"NanoCpus", std::llround(cpus * 1e9)},
      {"PidsLimit", limits.processes},
      // Bounds for what PID 1 can grant, since it has no CAP_SYS_RESOURCE; each server gets tighter ones. None above
      // what an engine with ordinary limits of its own can set.
      {"Ulimits",
       {ulimit("nproc", processes, processes), ulimit("nofile", 4096, 4096), ulimit("fsize", 8ll << 30, 8ll << 30),
        ulimit("core", 0, 0), ulimit("memlock", 65536, 65536), ulimit("msgqueue", 0, 0)}},
      {"LogConfig", {{"Type", "none"}, {"Config", json::object()}}},
  };
  if (spaces != DockerSpaces::kNone) host["SecurityOpt"].push_back("seccomp=" + docker_seccomp_profile());
  if (spaces == DockerSpaces::kAll) {
    host["MaskedPaths"] = json::array();
    host["ReadonlyPaths"] = json::array();
  }
  if (facts.api_minor >= 41) host["CgroupnsMode"] = "private";
  return host;
}

json labels_of(const SandboxSpec& spec, const DockerImageFacts& image, std::string_view nonce) {
  json labels = json::object();
  for (const auto& name : image.label_names) {
    if (name.starts_with(kLabelPrefix)) labels[name] = "";
  }
  for (const auto& [name, value] : spec.labels) labels[name] = value;
  labels["io.mcpbox.managed"] = "1";
  if (!labels.contains(kProfileLabel)) labels[kProfileLabel] = spec.hash();
  labels[kCreateLabel] = nonce;
  return labels;
}

}  // namespace

std::string_view name_of(DockerSpaces spaces) {
  switch (spaces) {
    case DockerSpaces::kAll:
      return "all";
    case DockerSpaces::kWithoutProc:
      return "without-proc";
    case DockerSpaces::kNone:
      return "none";
  }
  return "none";
}

bool is_docker_id(std::string_view id) {
  return id.size() == 64 &&
         std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<DockerImageFacts> read_docker_image(std::string_view image_json) {
  auto parsed = parse_docker_json(image_json, "an image");
  if (!parsed) return fail(std::move(parsed).error());
  DockerImageFacts facts;
  facts.id = string_at(*parsed, {"Id"});
  if (!facts.id.starts_with("sha256:")) facts.id.insert(0, "sha256:");
  if (!is_docker_id(std::string_view(facts.id).substr(7)))
    return fail(Code::kDataLoss, "the engine gave an image without a valid id");
  const auto& env = member(*parsed, {"Config", "Env"});
  for (const auto& entry : env.is_array() ? env : json::array()) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
    const auto name = text.substr(0, text.find('='));
    if (!name.empty() && name != "PATH") facts.env_names.push_back(name);
  }
  const auto& volumes = member(*parsed, {"Config", "Volumes"});
  for (const auto& [path, ignored] : (volumes.is_object() ? volumes : json::object()).items()) {
    if (!is_normal_path(path) || hides_system(path)) {
      return fail(Code::kFailedPrecondition, "the image declares a volume at '" + printable(path, 200) +
                                                 "', which cannot be covered: use another image");
    }
    facts.volumes.push_back(path);
  }
  for (const auto& [name, value] : strings_at(*parsed, {"Config", "Labels"})) facts.label_names.push_back(name);
  if (std::max({facts.env_names.size(), facts.volumes.size(), facts.label_names.size()}) > kMaxImageItems) {
    return fail(Code::kFailedPrecondition,
                "the image declares more than 256 variables, volumes or labels: use another image");
  }
  return facts;
}

std::string docker_create_body(const SandboxSpec& spec, const DockerFacts& facts, const DockerImageFacts& image,
                               std::string_view nonce, DockerSpaces spaces) {
  json labels = labels_of(spec, image, nonce);
  labels[kSpacesLabel] = name_of(spaces);
  json env = json::array({kPath});
  for (const auto& name : image.env_names) env.push_back(name);  // a name alone: not in the process's environment
  json body{
      {"Image", image.id},
      {"User", "0:0"},
      {"Hostname", "mcpbox"},
      {"WorkingDir", "/"},
      {"Entrypoint", spec.init_argv},
      {"Cmd", json::array()},
      {"Env", std::move(env)},
      {"Tty", false},
      {"OpenStdin", false},
      {"StopSignal", "SIGKILL"},
      {"Healthcheck", {{"Test", {"NONE"}}}},
      {"Labels", labels},
      {"HostConfig", host_config_of(spec, facts, image, labels, spaces)},
  };
  return dump_json(body);
}

}  // namespace mcpbox::box
