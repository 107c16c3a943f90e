#include "box/sandbox_spec.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "base/text.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kMaxMounts = 64;

bool all_of(std::string_view text, std::string_view extra) {
  return std::ranges::all_of(
      text, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || extra.find(c) != extra.npos; });
}

std::unexpected<Error> invalid(std::string text) {
  return fail(Code::kInvalidArgument, "sandbox: " + std::move(text));
}

Result<void> check_mount(const Mount& mount) {
  const std::string where = "mount '" + printable(mount.target, 300) + "'";
  if (!is_normal_path(mount.target)) return invalid(where + ": the target must be absolute, without '.', '..' or '//'");
  if (hides_system(mount.target)) return invalid(where + ": nothing may be mounted in /proc, /sys or /dev");
  switch (mount.kind) {
    case Mount::Kind::kBind:
      if (!is_normal_path(mount.source)) return invalid(where + ": the source must be an absolute, normal host path");
      break;
    case Mount::Kind::kVolume:
      if (!is_volume_name(mount.source))
        return invalid(where + ": the volume's name may hold a-z, 0-9, '_', '.' and '-' (at most 128)");
      break;
    case Mount::Kind::kScratch:
    case Mount::Kind::kMemory:
      if (!mount.source.empty()) return invalid(where + ": this kind has no source");
      break;
  }
  return {};
}

}  // namespace

bool is_normal_path(std::string_view path) {
  if (!path.starts_with('/') || path.size() < 2 || path.size() > 4096 || path.find('\0') != path.npos) return false;
  for (const auto part : split(path.substr(1), '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

bool is_volume_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.front() != '.' && name.front() != '-' && all_of(name, "_.-");
}

bool hides_system(std::string_view target) {
  for (const std::string_view root : {"/proc", "/sys", "/dev"}) {
    if (target == root || (target.starts_with(root) && target[root.size()] == '/')) return true;
  }
  return false;
}

Result<void> check_sandbox_spec(const SandboxSpec& spec) {
  if (spec.name.empty() || spec.name.size() > 63 || spec.name.front() == '-' || !all_of(spec.name, "-")) {
    return invalid("the name '" + printable(spec.name, 100) + "' must be 1 to 63 of a-z, 0-9 and '-'");
  }
  if (!is_image_reference(spec.profile.image))
    return invalid("'" + printable(spec.profile.image, 200) + "' is not an image reference");
  if (spec.init_argv.empty() || !is_normal_path(spec.init_argv[0]))
    return invalid("PID 1 must be given as an absolute path");
  for (const auto& [name, value] : spec.labels) {
    if (!name.starts_with(kLabelPrefix) || name.size() > 128 || !all_of(name, "._-") || value.size() > 4096 ||
        !is_valid_utf8(value) || value.find('\0') != value.npos) {
      return invalid("the label '" + printable(name, 100) + "' must be io.mcpbox.* with a short text value");
    }
  }
  const auto& limits = spec.profile.limits;
  if (limits.memory_bytes < (16ull << 20) || limits.memory_bytes > (1ull << 50))
    return invalid("the memory limit must be at least 16 MiB");
  if (!(limits.cpus >= 0.01) || limits.cpus > 4096) return invalid("the processor limit must be at least 0.01");
  if (limits.processes < 4 || limits.processes > 4194304) return invalid("the process limit must be 4 to 4194304");
  if (spec.profile.mounts.size() > kMaxMounts) return invalid("more than 64 mounts");
  std::set<std::string_view> targets;
  for (const auto& mount : spec.profile.mounts) {
    if (auto checked = check_mount(mount); !checked) return checked;
    if (!targets.insert(mount.target).second) return invalid("two mounts at '" + printable(mount.target, 300) + "'");
  }
  return {};
}

bool labels_match(const Labels& wanted, const Labels& found) {
  for (const auto& [name, value] : wanted) {
    const auto at = found.find(name);
    if (at == found.end() || at->second != value) return false;
  }
  return true;
}

bool is_image_reference(std::string_view text) {
  if (text.empty() || text.size() > 400 || text.front() == '/' || text.front() == '-' || text.front() == '.')
    return false;
  const bool characters = std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-/:@").find(c) != std::string_view::npos;
  });
  return characters && text.find("..") == text.npos && text.find("//") == text.npos;
}

}  // namespace mcpbox::box
