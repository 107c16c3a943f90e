#include "box/native/host_system.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/root_fs.h"
#include "base/text.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

std::string host_id(const std::vector<std::pair<std::string, std::string>>& tools) {
  std::string facts = sys::read_file("/usr/lib/os-release").value_or("");
  for (const char* path :
       {"/usr/bin/python3", "/usr/bin/node", "/usr/bin/npm", "/usr/local/bin/node", "/usr/local/bin/uv"}) {
    struct stat info{};
    if (::stat(path, &info) == 0) facts += fmt::format("{} {} {}\n", path, info.st_size, info.st_mtim.tv_sec);
  }
  for (const auto& [source, target] : tools) {
    facts += fmt::format("{} {}\n", source, target);
    // A folder is of one version, which its name says; a single program is whatever was put there.
    struct stat info{};
    if (::stat(source.c_str(), &info) == 0 && S_ISREG(info.st_mode))
      facts += fmt::format("{} {}\n", info.st_size, info.st_mtim.tv_sec);
  }
  return "host:" + sha256_hex(facts).substr(0, 16);
}

}  // namespace

std::string host_system_name() {
  const std::string facts = sys::read_file("/etc/os-release", 64u << 10, sys::Links::kFollow).value_or("");
  for (const std::string_view line : split(facts, '\n')) {
    if (line.starts_with("PRETTY_NAME=")) return printable(trim(line.substr(12)).substr(0, 120));
  }
  return "Linux";
}

Result<ImageInfo> native_image(const std::string& reference,
                               const std::vector<std::pair<std::string, std::string>>& tools) {
  ImageInfo info;
  if (reference.empty() || root_fs_of(reference) == RootFs::kHostSystem) {
    info.id = host_id(tools);
    info.tags = {std::string(kHostSystem)};
    return info;
  }
  struct stat status{};
  if (!reference.starts_with('/') || ::stat(reference.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return fail(
        Code::kUnsupported,
        fmt::format(
            "'{}': the native engine has no images; give `host` (the default) for this machine's own system, or the "
            "absolute path of a rootfs directory",
            printable(reference, 200)));
  }
  char* real = ::realpath(reference.c_str(), nullptr);
  info.id = real == nullptr ? reference : real;
  ::free(real);
  info.tags = {info.id};
  info.created_unix = status.st_mtim.tv_sec;
  return info;
}

}  // namespace mcpbox::box
