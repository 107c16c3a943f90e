// Part of spaces.h: what a server finds in its own mount namespace.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "box/init/build_mount.h"
#include "box/init/one_id.h"
#include "box/init/op.h"
#include "box/init/proc_masks.h"
#include "box/init/run_as.h"
#include "box/init/spaces.h"
#include "box/init/start_report.h"

namespace mcpbox::box::init {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

// An invalid descriptor where there is none, or only a link: what it leads to may be anything.
UniqueFd place_at(const char* path) {
  UniqueFd place(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (place && (::fstat(place.get(), &info) != 0 || S_ISLNK(info.st_mode))) place.reset();
  return place;
}

// `report`: where PID 1 is told of it; -1: it need not know.
Op<void> mount_at(const char* path, const char* type, const Options& options, std::uint64_t flags, int report = -1) {
  UniqueFd place = place_at(path);
  if (!place) return {};
  UniqueFd tree = new_mount(type, options, flags);
  if (!tree || !attach(tree.get(), place.get())) return failed(std::string("mount the server's ") + path);
  if (report >= 0 && !report_memory(report, tree.get())) return failed(std::string("tell of the server's ") + path);
  return {};
}

// A field of passwd(5).
std::string home_of(const wire::Spawn& spec) {
  std::string_view home = "/";
  for (const std::string& entry : spec.env) {
    if (entry.starts_with("HOME=")) home = std::string_view(entry).substr(5);
  }
  return home.find_first_of(":\n") == home.npos ? std::string(home) : "/";
}

struct OwnFile {
  const char* name;
  std::string content;
};

std::vector<OwnFile> own_files(const wire::Spawn& spec) {
  const std::string user = std::to_string(one_id() ? spec.uid : kUserInside);
  const std::string group = std::to_string(one_id() ? spec.gid : kUserInside);
  return {{"passwd",
           "root:x:0:0:root:/:/usr/sbin/nologin\n"
           "mcpbox:x:" +
               user + ":" + group + ":mcpbox:" + home_of(spec) +
               ":/bin/sh\n"
               "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"},
          {"group", "root:x:0:\nmcpbox:x:" + group + ":\nnogroup:x:65534:\n"},
          {"hosts", "127.0.0.1 localhost mcpbox\n::1 localhost ip6-localhost mcpbox\n"}};
}

// Each is bound over the sandbox's one, from a file system that the one of /dev/shm covers afterwards.
Op<void> place_own_files(const wire::Spawn& spec) {
  UniqueFd spot = place_at("/dev/shm");
  if (!spot) return {};
  UniqueFd files = new_mount("tmpfs", {{"size", "65536"}, {"nr_inodes", "8"}, {"mode", "755"}}, kNoExec);
  if (!files || !attach(files.get(), spot.get())) return failed("make the server's files of /etc");
  for (const OwnFile& each : own_files(spec)) {
    const std::string step = std::string("make the server's /etc/") + each.name;
    UniqueFd place = place_at((std::string("/etc/") + each.name).c_str());
    if (!place) continue;
    UniqueFd file(::openat(files.get(), each.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!file) return failed(step);
    write_all(file.get(), each.content);
    UniqueFd tree = copy_tree(files.get(), each.name);
    if (!tree || !restrict_tree(tree.get(), true, true, true, false) || !attach(tree.get(), place.get()))
      return failed(step);
  }
  return {};
}

// A folder of the server's that the sandbox has below /tmp.
struct Kept {
  std::string path;
  UniqueFd tree;
  bool directory = false;
};

bool is_below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

Op<std::vector<Kept>> keep_what_is_below_tmp(const wire::Spawn& spec) {
  std::vector<std::string> paths;
  for (const auto* list : {&spec.confine.read_write, &spec.confine.read_only}) {
    std::ranges::copy_if(*list, std::back_inserter(paths),
                         [](const std::string& path) { return is_below(path, "/tmp"); });
  }
  std::ranges::sort(paths);  // the outer one first: what is in it comes with it
  std::vector<Kept> out;
  for (const std::string& path : paths) {
    if (!out.empty() && (path == out.back().path || is_below(path, out.back().path))) continue;
    UniqueFd place = place_at(path.c_str());
    struct stat info{};
    if (!place || ::fstat(place.get(), &info) != 0) continue;  // what needs it says that it is missing
    Kept kept{path, copy_tree(place.get(), ""), S_ISDIR(info.st_mode)};
    if (!kept.tree) return failed("keep '" + path + "'");
    out.push_back(std::move(kept));
  }
  return out;
}

// In a /tmp of ours that nobody else has seen yet.
Op<void> put_back(const Kept& kept) {
  const std::string step = "show '" + kept.path + "' in the server's /tmp";
  for (std::size_t slash = kept.path.find('/', 5); slash != kept.path.npos; slash = kept.path.find('/', slash + 1)) {
    if (::mkdir(kept.path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return failed(step);
  }
  if (kept.directory) {
    if (::mkdir(kept.path.c_str(), 0755) != 0) return failed(step);
  } else if (UniqueFd(::open(kept.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)).get() < 0) {
    return failed(step);
  }
  UniqueFd place = place_at(kept.path.c_str());
  if (!place || !attach(kept.tree.get(), place.get())) return failed(step);
  return {};
}

Op<void> place_own_tmp(const wire::Spawn& spec, int report) {
  // A folder of the host that somebody mounts there is the server's already.
  for (const auto* list : {&spec.confine.read_write, &spec.confine.read_only}) {
    if (std::ranges::find(*list, "/tmp") != list->end()) return {};
  }
  auto kept = keep_what_is_below_tmp(spec);
  if (!kept) return std::unexpected(kept.error());
  auto done = mount_at("/tmp", "tmpfs", {{"size", "64m"}, {"nr_inodes", "16384"}, {"mode", "1777"}}, 0, report);
  if (!done) return done;
  for (const Kept& each : *kept) {
    if (auto back = put_back(each); !back) return back;
  }
  return {};
}

// Of the kernel's counters of a user namespace, which its owner's owner pays too, up to whoever runs the engine
// (namespaces(7), /proc/sys/user): a part of what that one has at most. What no server may make, it has none of.
// `user`: /proc/sys/user as it can be written to.
Op<void> limit_counters(int proc, int user) {
  constexpr unsigned long kPart = 8;
  struct Counter {
    const char* name;
    const char* most;  // of the machine; null: none
  };
  constexpr Counter kCounters[] = {{"max_inotify_instances", "sys/fs/inotify/max_user_instances"},
                                   {"max_inotify_watches", "sys/fs/inotify/max_user_watches"},
                                   {"max_fanotify_groups", nullptr},
                                   {"max_fanotify_marks", nullptr},
                                   {"max_user_namespaces", nullptr},
                                   {"max_mnt_namespaces", nullptr},
                                   {"max_pid_namespaces", nullptr},
                                   {"max_net_namespaces", nullptr},
                                   {"max_ipc_namespaces", nullptr},
                                   {"max_uts_namespaces", nullptr},
                                   {"max_time_namespaces", nullptr},
                                   {"max_cgroup_namespaces", nullptr}};
  for (const Counter& each : kCounters) {
    char text[32] = {};
    if (each.most != nullptr) {
      UniqueFd most(::openat(proc, each.most, O_RDONLY | O_CLOEXEC));
      if (!most || ::read(most.get(), text, sizeof text - 1) <= 0) continue;  // a kernel without the thing
    }
    const unsigned long all = ::strtoul(text, nullptr, 10);
    const std::string value = std::to_string(all == 0 ? 0 : std::max(1ul, all / kPart));
    UniqueFd file(::openat(user, each.name, O_WRONLY | O_CLOEXEC));
    if (!file && errno == ENOENT) continue;
    if (!file || ::write(file.get(), value.data(), value.size()) < 0)
      return failed(std::string("limit the server's /proc/sys/user/") + each.name);
  }
  return {};
}

Op<void> place_own_proc() {
  UniqueFd place = place_at("/proc");
  if (!place) return {};
  UniqueFd proc = new_mount("proc", {}, kNoExec);
  if (!proc || !attach(proc.get(), place.get())) return failed("mount the server's /proc");
  UniqueFd user(::openat(proc.get(), "sys/user", O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (auto masked = mask_proc(proc.get(), root.get()); !masked) return masked;
  // Last: mounts that are not attached yet count as namespaces.
  return user ? limit_counters(proc.get(), user.get()) : Op<void>();
}

// What engines cover of /sys; where their covers are taken off for /proc's sake, they are off there too.
Op<void> cover_sys() {
  for (const char* path : {"/sys/firmware", "/sys/devices/virtual/powercap"}) {
    auto covered =
        mount_at(path, "tmpfs", {{"size", "4096"}, {"nr_inodes", "2"}, {"mode", "555"}}, kReadOnly | kNoExec);
    if (!covered) return covered;
  }
  return {};
}

Op<void> furnish(Spaces spaces, const wire::Spawn& spec, int report) {
  if (!make_private()) return failed("make the mounts private");
  if (auto done = place_own_files(spec); !done) return done;
  if (auto done = place_own_tmp(spec, report); !done) return done;
  if (auto done =
          mount_at("/dev/shm", "tmpfs", {{"size", "64m"}, {"nr_inodes", "4096"}, {"mode", "1777"}}, kNoExec, report);
      !done)
    return done;
  if (auto done = mount_at("/dev/pts", "devpts", {{"ptmxmode", "666"}, {"mode", "620"}}, kNoExec); !done) return done;
  if (spaces != Spaces::kAll) return {};
  if (auto done = cover_sys(); !done) return done;
  return place_own_proc();
}

}  // namespace

int furnish_spaces(Spaces spaces, const wire::Spawn& spec, int report, std::string& step) {
  const mode_t before = ::umask(0);
  auto furnished = furnish(spaces, spec, report);
  ::umask(before);
  if (furnished) return 0;
  step = furnished.error().step;
  return furnished.error().error_number;
}

}  // namespace mcpbox::box::init
