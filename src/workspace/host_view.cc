#include "workspace/host_view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/root_fs.h"
#include "sys/path_guard.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {

HostKind host_kind(const std::string& path) {
  struct stat status{};
  if (path.empty() || path.find('\0') != std::string::npos || ::stat(path.c_str(), &status) != 0)
    return HostKind::kNothing;
  if (S_ISREG(status.st_mode)) return HostKind::kFile;
  return S_ISDIR(status.st_mode) ? HostKind::kDirectory : HostKind::kOther;
}

std::optional<std::string> canonical(const std::string& path) {
  if (path.find('\0') != std::string::npos) return std::nullopt;
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return std::nullopt;
  std::string result(real);
  ::free(real);
  return result;
}

std::optional<unsigned> python_minor_of(const std::string& image_id) {
  const RootFs root_fs = root_fs_of(image_id);
  if (root_fs == RootFs::kImage) return 11;
  const bool host = root_fs == RootFs::kHostSystem;
  char target[256];
  const ssize_t size =
      ::readlink(((host ? std::string() : image_id) + "/usr/bin/python3").c_str(), target, sizeof target);
  if (size <= 0) return std::nullopt;
  std::string_view name = base_name(std::string_view(target, static_cast<std::size_t>(size)));
  unsigned minor = 0;
  if (!name.starts_with("python3.")) return std::nullopt;
  name.remove_prefix(8);
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), minor);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return minor;
}

std::string canonical_prefix(const std::string& path) {
  std::string tail;
  for (std::string at = normalise(path);; at = parent_of(at)) {
    if (auto real = canonical(at)) return tail.empty() ? *real : join_path(*real, tail);
    if (at == "/") return normalise(path);
    tail = tail.empty() ? std::string(base_name(at)) : std::string(base_name(at)) + "/" + tail;
  }
}

std::string platform_of(const std::string& image_id) {
  struct utsname system{};
  std::string platform = ::uname(&system) == 0 ? fmt::format("linux-{}", system.machine) : "linux";
  if (root_fs_of(image_id) != RootFs::kFolder) return platform;
  const auto root = sys::open_directory(image_id);
  if (!root) return platform;
  for (const char* program : {"python3", "node", "npm", "uv"}) {
    for (const char* folder : {"usr/bin/", "usr/local/bin/"}) {
      std::string path = folder + std::string(program);
      struct stat status{};
      for (int links = 0; links < 2; ++links) {
        auto file = sys::open_beneath(root->get(), path, O_PATH);
        if (!file || ::fstat(file->get(), &status) != 0) break;
        platform += fmt::format(" {}:{}:{}", path, status.st_size, status.st_mtim.tv_sec);
        char target[256];
        const ssize_t size = S_ISLNK(status.st_mode) ? ::readlinkat(file->get(), "", target, sizeof target) : -1;
        if (size <= 0) break;
        path = folder + std::string(target, static_cast<std::size_t>(size));  // "python3.11"
      }
    }
  }
  return platform;
}

}  // namespace mcpbox::workspace
