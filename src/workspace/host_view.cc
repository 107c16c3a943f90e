#include "workspace/host_view.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/errno_error.h"
#include "base/root_fs.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/small_file.h"
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

Result<std::string> read_host_file(const std::string& path, std::size_t limit) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  std::string shown = "'" + printable(path, 512) + "'";
  if (!file) return fail(errno_error(errno, "read " + shown));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail(Code::kInvalidArgument, shown + " is not a regular file");
  auto text = sys::read_all(file.get(), limit);
  if (!text) return fail(text.error().with_context(shown));
  return text;
}

}  // namespace mcpbox::workspace
