#include "box/native/layout.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;
using wire::BuildNode;

constexpr const char* kSystem[] = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
// What programs cannot do without, and nothing that says more about the machine than they can find out anyway.
constexpr const char* kEtc[] = {
    "/etc/alternatives",    "/etc/ld.so.cache", "/etc/ld.so.conf",      "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/timezone",        "/etc/ssl/certs",   "/etc/ssl/openssl.cnf", "/etc/pki/tls",      "/etc/pki/ca-trust",
    "/etc/ca-certificates", "/etc/mime.types",  "/etc/services",        "/etc/protocols",    "/etc/fonts",
    "/etc/python3",         "/etc/python3.11",  "/etc/nodejs",          "/etc/magic"};
constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};
constexpr std::size_t kMaxRootfsEntries = 256;

BuildNode node(BuildNode::Kind kind, std::string target, std::string source = {}) {
  BuildNode out;
  out.kind = kind;
  out.target = std::move(target);
  out.source = std::move(source);
  return out;
}

BuildNode memory(std::string target, std::uint64_t size, std::uint64_t inodes, std::uint32_t mode, bool executable) {
  BuildNode out = node(BuildNode::Kind::kMemory, std::move(target));
  out.size_bytes = size;
  out.inodes = inodes;
  out.mode = mode;
  out.executable = executable;
  out.read_only = false;
  return out;
}

// A link stays the link that it is, as long as it stays within the tree; what it names is bound by itself.
void add_host_entry(std::vector<BuildNode>& nodes, const std::string& source, const std::string& target) {
  struct stat info{};
  if (::lstat(source.c_str(), &info) != 0) return;
  if (S_ISLNK(info.st_mode)) {
    std::array<char, 4096> text{};
    const ssize_t size = ::readlink(source.c_str(), text.data(), text.size());
    if (size > 0)
      nodes.push_back(node(BuildNode::Kind::kLink, target, std::string(text.data(), static_cast<std::size_t>(size))));
  } else if (S_ISDIR(info.st_mode) || S_ISREG(info.st_mode)) {
    nodes.push_back(node(BuildNode::Kind::kBind, target, source));
  }
}

void add_host_system(std::vector<BuildNode>& nodes) {
  for (const char* path : kSystem) add_host_entry(nodes, path, path);
  for (const char* path : kEtc) add_host_entry(nodes, path, path);
  const auto file = [&](const char* path, std::string content) {
    nodes.push_back(node(BuildNode::Kind::kFile, path, std::move(content)));
  };
  file("/etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
  file("/etc/group", "root:x:0:\nnogroup:x:65534:\n");
  file("/etc/hosts", "127.0.0.1 localhost mcpbox\n::1 localhost mcpbox\n");
  file("/etc/hostname", "mcpbox\n");
  file("/etc/resolv.conf", "");
  file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
}

Result<void> add_rootfs(std::vector<BuildNode>& nodes, const std::string& rootfs) {
  std::error_code error;
  std::size_t count = 0;
  for (fs::directory_iterator at(rootfs, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name == "dev" || name == "proc" || name == "sys" || name == "tmp" || name == "run") continue;
    if (++count > kMaxRootfsEntries)
      return fail(Code::kInvalidArgument,
                  fmt::format("rootfs {}: more than {} entries", printable(rootfs), kMaxRootfsEntries));
    add_host_entry(nodes, rootfs + "/" + name, "/" + name);
  }
  if (error) return fail(errno_error(error.value(), fmt::format("rootfs {}", printable(rootfs))));
  if (count == 0) return fail(Code::kInvalidArgument, fmt::format("rootfs {} is empty", printable(rootfs)));
  return {};
}

void add_standard(std::vector<BuildNode>& nodes) {
  for (const char* name : kDevices)
    nodes.push_back(node(BuildNode::Kind::kDevice, fmt::format("/dev/{}", name), fmt::format("/dev/{}", name)));
  nodes.push_back(node(BuildNode::Kind::kLink, "/dev/fd", "/proc/self/fd"));
  nodes.push_back(node(BuildNode::Kind::kLink, "/dev/stdin", "/proc/self/fd/0"));
  nodes.push_back(node(BuildNode::Kind::kLink, "/dev/stdout", "/proc/self/fd/1"));
  nodes.push_back(node(BuildNode::Kind::kLink, "/dev/stderr", "/proc/self/fd/2"));
  // Each server mounts its own there (init/spaces.h).
  nodes.push_back(node(BuildNode::Kind::kDirectory, "/dev/pts"));
  nodes.push_back(node(BuildNode::Kind::kLink, "/dev/ptmx", "pts/ptmx"));
  nodes.push_back(memory("/dev/shm", 64 << 20, 4096, 01777, false));
  nodes.push_back(memory("/tmp", 16 << 20, 1024, 01777, false));
  nodes.push_back(memory("/run", 1 << 20, 256, 0755, false));
}

Result<std::string> real_source(const Mount& mount) {
  char* real = ::realpath(mount.source.c_str(), nullptr);
  if (real == nullptr)
    return fail(
        errno_error(errno, fmt::format("mount {}: the host's {}", printable(mount.target), printable(mount.source))));
  std::string found(real);
  ::free(real);
  return found;
}

Result<void> add_mounts(NativeLayout& layout, const SandboxSpec& spec, const NativePlaces& places) {
  // Outer ones first: a mount does not cover what was put below it before.
  std::vector<Mount> mounts = spec.profile.mounts;
  std::ranges::sort(mounts, {},
                    [](const Mount& mount) { return std::pair(std::ranges::count(mount.target, '/'), mount.target); });
  for (const Mount& mount : mounts) {
    // What the sandbox has at that place by itself gives way.
    std::erase_if(layout.nodes, [&](const BuildNode& each) {
      return each.target == mount.target && each.kind == BuildNode::Kind::kMemory;
    });
    BuildNode out = node(BuildNode::Kind::kBind, mount.target);
    out.read_only = mount.read_only;
    switch (mount.kind) {
      case Mount::Kind::kBind: {
        if (mount.judged) {
          // Its path has no link in it, and is resolved once more only: by who binds it, and compares.
          out.source = mount.source;
          out.judged = true;
          out.device = mount.judged->device;
          out.inode = mount.judged->inode;
          break;
        }
        auto real = real_source(mount);
        if (!real) return fail(std::move(real).error());
        out.source = std::move(*real);
        break;
      }
      case Mount::Kind::kVolume:
        out.source = places.volumes + "/" + mount.source + "/data";
        out.take = true;
        layout.volumes.push_back(mount.source);
        break;
      case Mount::Kind::kScratch:
        layout.scratch.push_back(fmt::format("{}", layout.scratch.size()));
        out.source = fmt::format("{}/scratch/{}", places.directory, layout.scratch.back());
        out.take = true;
        break;
      case Mount::Kind::kMemory: {
        const std::uint64_t size = mount.size_bytes == 0 ? 64ull << 20 : mount.size_bytes;
        out = memory(mount.target, size, std::max<std::uint64_t>(1024, size / 4096), mount.mode, true);
        out.read_only = mount.read_only;
        break;
      }
    }
    layout.nodes.push_back(std::move(out));
  }
  return {};
}

}  // namespace

Result<NativeLayout> native_layout(const SandboxSpec& spec, const NativePlaces& places) {
  NativeLayout layout;
  if (places.rootfs.empty()) {
    add_host_system(layout.nodes);
  } else if (auto added = add_rootfs(layout.nodes, places.rootfs); !added) {
    return fail(std::move(added).error());
  }
  add_standard(layout.nodes);
  if (places.rootfs.empty()) {
    for (const auto& [source, target] : places.tools)
      layout.nodes.push_back(node(BuildNode::Kind::kBind, target, source));
  }
  if (auto added = add_mounts(layout, spec, places); !added) return fail(std::move(added).error());
  return layout;
}

}  // namespace mcpbox::box
