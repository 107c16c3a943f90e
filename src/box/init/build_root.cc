#include "box/init/build_root.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>

#include "box/init/build_mount.h"
#include "box/init/proc_masks.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {
namespace {

using wire::BuildNode;

std::string number(std::uint64_t value, const char* format) {
  char text[32];
  ::snprintf(text, sizeof text, format, static_cast<unsigned long long>(value));
  return text;
}

// The last component of an absolute path and a descriptor of the directory that holds it, made where it is missing.
// Nothing on the way may be a link: the tree is ours, but what is bound into it is not.
Op<UniqueFd> make_parent(const std::string& target, std::string& name) {
  UniqueFd current(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest = std::string_view(target).substr(1);
  while (true) {
    const std::size_t slash = rest.find('/');
    name = rest.substr(0, slash);
    if (name.empty() || name == "." || name == "..")
      return refuse(Code::kInvalidArgument, "make '" + target + "'", "is not a normal path");
    if (slash == std::string_view::npos) return current;
    if (::mkdirat(current.get(), name.c_str(), 0755) != 0 && errno != EEXIST)
      return failed("make '" + name + "' for '" + target + "'");
    current.reset(::openat(current.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!current) return failed("open '" + name + "' on the way to '" + target + "'");
    rest.remove_prefix(slash + 1);
  }
}

Op<UniqueFd> place_for(const std::string& target, bool directory) {
  std::string name;
  auto parent = make_parent(target, name);
  if (!parent) return parent;
  if (directory) {
    if (::mkdirat(parent->get(), name.c_str(), 0755) != 0 && errno != EEXIST) return failed("make '" + target + "'");
  } else {
    UniqueFd file(::openat(parent->get(), name.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444));
    if (!file && errno != EROFS && errno != EACCES) return failed("make '" + target + "'");
  }
  UniqueFd place(::openat(parent->get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!place) return failed("open '" + target + "'");
  return place;
}

bool is_directory(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

Op<void> place_bind(const BuildNode& node, int tree) {
  auto place = place_for(node.target, is_directory(tree));
  if (!place) return std::unexpected(place.error());
  if (!attach(tree, place->get())) return failed("bind '" + node.source + "' to '" + node.target + "'");
  return {};
}

Op<void> place_memory(const BuildNode& node) {
  auto place = place_for(node.target, true);
  if (!place) return std::unexpected(place.error());
  const std::uint64_t flags = (node.executable ? 0 : kNoExec) | (node.read_only ? kReadOnly : 0);
  UniqueFd tree = new_mount("tmpfs",
                            {{"size", number(node.size_bytes, "%llu")},
                             {"nr_inodes", number(node.inodes, "%llu")},
                             {"mode", number(node.mode, "%llo")}},
                            flags);
  if (!tree || !attach(tree.get(), place->get())) return failed("mount a memory file system at '" + node.target + "'");
  return {};
}

Op<void> place_text(const BuildNode& node) {
  std::string name;
  auto parent = make_parent(node.target, name);
  if (!parent) return std::unexpected(parent.error());
  if (node.kind == BuildNode::Kind::kLink) {
    if (::symlinkat(node.source.c_str(), parent->get(), name.c_str()) != 0) return failed("link '" + node.target + "'");
    return {};
  }
  UniqueFd file(::openat(parent->get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
  if (!file) return failed("make '" + node.target + "'");
  write_all(file.get(), node.source);
  return {};
}

Op<void> place_directory(const BuildNode& node) {
  auto place = place_for(node.target, true);
  if (!place) return std::unexpected(place.error());
  std::string name;
  auto parent = make_parent(node.target, name);
  if (!parent) return std::unexpected(parent.error());
  if (::fchmodat(parent->get(), name.c_str(), node.mode & 01777, 0) != 0)
    return failed("set the mode of '" + node.target + "'");
  return {};
}

BuildNode directory_node(const std::string& target, std::uint32_t mode) {
  BuildNode node;
  node.target = target;
  node.mode = mode;
  return node;
}

// hidepid: a process sees those of its own uid only; root's group, which is PID 1's, sees all (proc(5)). With one id
// that group is the servers' too; there a process sees what it may trace, and PID 1, who owns the servers' namespaces,
// may trace them all.
Op<void> place_proc(bool one_id) {
  using Options = std::vector<std::pair<std::string, std::string>>;
  UniqueFd proc = new_mount(
      "proc", one_id ? Options{{"hidepid", "invisible"}} : Options{{"hidepid", "invisible"}, {"gid", "0"}}, kNoExec);
  if (!proc) return failed("mount /proc");
  auto place = place_for("/proc", true);
  if (!place) return std::unexpected(place.error());
  if (!attach(proc.get(), place->get())) return failed("mount /proc");
  UniqueFd inside(::open("proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!inside) return failed("mount /proc");
  return mask_proc(inside.get(), AT_FDCWD);
}

// A /proc without covers, behind a folder that only root enters. The kernel lets a user namespace mount a /proc of its
// own only where a whole one can be seen (mount_namespaces(7)); each server's namespaces (spaces.h) need that.
Op<void> place_whole_proc() {
  const std::string cover = "/.boxproc";
  auto closed = place_directory(directory_node(cover, 0700));
  if (!closed) return closed;
  UniqueFd proc = new_mount("proc", {}, kNoExec);
  auto place = place_for(cover + "/all", true);
  if (!place) return std::unexpected(place.error());
  if (!proc || !attach(proc.get(), place->get())) return failed("mount a whole /proc");
  return {};
}

// The folder that mcpbox judged, or an error. A server that may write above it can exchange it for a link at any time,
// so nothing on the way is followed, and what was copied is compared, not what its name leads to.
Op<UniqueFd> copy_judged(const BuildNode& node) {
  const auto exchanged = [&] {
    return refuse(Code::kAborted, "bind '" + node.source + "'",
                  "it is not the folder any more that was checked; something that may write above it put another in "
                  "its place just now. Start it again; if that repeats, stop what changes the folder");
  };
  struct open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd found(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, node.source.c_str(), &how, sizeof how)));
  if (!found && (errno == ELOOP || errno == ENOENT || errno == ENOTDIR)) return exchanged();
  UniqueFd tree = found ? copy_tree(found.get(), "") : UniqueFd();
  struct stat info{};
  if (!tree || ::fstat(tree.get(), &info) != 0) return failed("bind '" + node.source + "'");
  if (info.st_dev != node.device || info.st_ino != node.inode) return exchanged();
  return tree;
}

// Opened while we still are who may read them.
Op<std::vector<UniqueFd>> open_sources(const wire::BuildSpec& spec) {
  std::vector<UniqueFd> trees;
  for (const BuildNode& node : spec.nodes) {
    UniqueFd& tree = trees.emplace_back();
    const bool device = node.kind == BuildNode::Kind::kDevice;
    if (node.kind != BuildNode::Kind::kBind && !device) continue;
    if (node.judged) {
      auto bound = copy_judged(node);
      if (!bound) return std::unexpected(bound.error());
      tree = std::move(*bound);
    } else {
      tree = copy_tree(AT_FDCWD, node.source.c_str());
      if (!tree) return failed("bind '" + node.source + "'");
    }
    // Before it may become read-only.
    if (node.take && ::fchownat(tree.get(), "", 0, 0, AT_EMPTY_PATH) != 0) return failed("take '" + node.source + "'");
    // Opening a device needs nothing of the mount but that it lets devices through.
    if (!restrict_tree(tree.get(), node.read_only && !device, !device, device, true))
      return failed("restrict '" + node.source + "'");
  }
  return trees;
}

}  // namespace

Op<void> build_root(const wire::BuildSpec& spec) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("make the mounts private");
  auto trees = open_sources(spec);
  if (!trees) return std::unexpected(trees.error());
  UniqueFd spot(::open((spec.directory + "/root").c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!spot) return failed("open '" + spec.directory + "/root'");

  // With one id setgroups(2) is forbidden (user_namespaces(7)); the groups that stay have no name inside.
  if ((!spec.one_id && ::setgroups(0, nullptr) != 0) || ::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0)
    return failed("become root of the sandbox");
  ::umask(0);
  UniqueFd root = new_mount("tmpfs", {{"size", "16m"}, {"nr_inodes", "4096"}, {"mode", "755"}}, 0);
  if (!root || !attach(root.get(), spot.get())) return failed("mount the sandbox's root");
  if (::fchdir(root.get()) != 0) return failed("enter the sandbox's root");

  for (std::size_t i = 0; i < spec.nodes.size(); ++i) {
    const BuildNode& node = spec.nodes[i];
    Op<void> placed;
    switch (node.kind) {
      case BuildNode::Kind::kDirectory:
        placed = place_directory(node);
        break;
      case BuildNode::Kind::kLink:
      case BuildNode::Kind::kFile:
        placed = place_text(node);
        break;
      case BuildNode::Kind::kBind:
      case BuildNode::Kind::kDevice:
        placed = place_bind(node, (*trees)[i].get());
        break;
      case BuildNode::Kind::kMemory:
        placed = place_memory(node);
        break;
      default:
        placed = refuse(Code::kInvalidArgument, "make '" + node.target + "'", "is of an unknown kind");
    }
    if (!placed) return placed;
  }
  if (auto placed = place_proc(spec.one_id); !placed) return placed;
  if (auto placed = place_whole_proc(); !placed) return placed;

  if (::syscall(SYS_pivot_root, ".", ".") != 0) return failed("change the root");
  if (::umount2(".", MNT_DETACH) != 0) return failed("let go of the host's tree");
  if (::chdir("/") != 0) return failed("enter the new root");
  UniqueFd top(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!restrict_tree(top.get(), true, true, false, false)) return failed("make the root read-only");
  return {};
}

}  // namespace mcpbox::box::init
