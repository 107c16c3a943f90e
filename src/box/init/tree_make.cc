#include "box/init/tree_make.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/init/one_id.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {
namespace {

// Effective group of the caller for as long as it lives. Members may give their own files to the group (chown(2)), and
// it lets root, who has no DAC_OVERRIDE here, write in directories of the group.
class AsGroup {
 public:
  explicit AsGroup(gid_t gid) : ok_(::setegid(shown_id(gid)) == 0) {}
  ~AsGroup() {
    if (ok_ && ::setegid(0) != 0) ::_exit(123);
  }
  AsGroup(const AsGroup&) = delete;
  AsGroup& operator=(const AsGroup&) = delete;
  bool ok() const { return ok_; }

 private:
  bool ok_;
};

Op<void> move_into_place(int workshop, int parent, const std::vector<std::string>& names, uid_t uid, gid_t gid,
                         Clock::time_point deadline) {
  auto made = run_as(uid, gid, deadline, [&]() -> Op<std::string> {
    ::umask(0);
    for (const std::string& name : names) {
      if (::mkdirat(workshop, name.c_str(), 0770) != 0) return failed("make directory '" + name + "'");
    }
    return std::string();
  });
  if (!made) return std::unexpected(made.error());
  std::vector<UniqueFd> fds;
  for (const std::string& name : names) {
    UniqueFd fd(::openat(workshop, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return failed("open directory '" + name + "'");
    if (::renameat2(workshop, name.c_str(), parent, name.c_str(), RENAME_NOREPLACE) != 0) {
      return failed("put directory '" + name + "' in place");
    }
    fds.push_back(std::move(fd));
  }
  auto closed = run_as(uid, gid, deadline, [&]() -> Op<std::string> {
    for (const UniqueFd& fd : fds) {
      if (::fchmod(fd.get(), 0700) != 0) return failed("set the mode of a directory");
    }
    return std::string();
  });
  if (!closed) return std::unexpected(closed.error());
  return {};
}

}  // namespace

Op<void> make_owned_directories(int parent, const std::vector<std::string>& names, uid_t uid, gid_t gid,
                                Clock::time_point deadline) {
  if (names.empty()) return {};
  ::umask(0);
  AsGroup group(gid);
  if (!group.ok()) return failed("take on group " + std::to_string(gid));
  const std::string workshop = random_name(".new.");
  if (::mkdirat(parent, workshop.c_str(), 0730) != 0) return failed("make a directory");
  UniqueFd fd(::openat(parent, workshop.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  Op<void> result = fd ? move_into_place(fd.get(), parent, names, uid, gid, deadline) : failed("open a directory");
  if (fd && !result) {
    for (const std::string& name : names) ::unlinkat(fd.get(), name.c_str(), AT_REMOVEDIR);
  }
  if (::unlinkat(parent, workshop.c_str(), AT_REMOVEDIR) != 0 && result) return failed("remove a temporary directory");
  return result;
}

Op<void> make_tree(const Roots& roots, const wire::MakeTree& request, Clock::time_point deadline) {
  for (const std::string& child : request.children) {
    if (!wire::is_plain_name(child))
      return refuse(Code::kInvalidArgument, "make '" + child + "'", "must be a single name");
  }
  if (!request.children.empty() && (request.uid == 0 || request.gid == 0)) {
    return refuse(Code::kInvalidArgument, "make '" + request.path + "'", "uid and gid must not be 0");
  }
  ::umask(0);
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  const std::string step = "make '" + request.path + "'";
  if (!place->relative.empty()) {
    auto entry = open_parent(*place, true);
    if (!entry) return std::unexpected(entry.error());
    if (::mkdirat(entry->parent.get(), entry->name.c_str(), 0711) != 0 && errno != EEXIST) return failed(step);
  }
  UniqueFd directory = open_beneath(place->root, place->relative, O_RDONLY | O_DIRECTORY);
  if (!directory) return failed(step);
  struct stat info{};
  if (::fstat(directory.get(), &info) != 0) return failed(step);
  if (info.st_uid != 0) {
    return refuse(Code::kAlreadyExists, step, "it is there and belongs to uid " + std::to_string(info.st_uid));
  }
  if (::fchmod(directory.get(), 0711) != 0) return failed(step);
  std::vector<std::string> missing;
  for (const std::string& child : request.children) {
    struct stat there{};
    if (::fstatat(directory.get(), child.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return failed("inspect '" + request.path + "/" + child + "'");
      missing.push_back(child);
    } else if (!S_ISDIR(there.st_mode) || there.st_uid != shown_id(request.uid) ||
               there.st_gid != shown_id(request.gid)) {
      return refuse(Code::kAlreadyExists, "make '" + request.path + "/" + child + "'",
                    "it is there and is no directory of uid " + std::to_string(request.uid) + "; remove it first");
    }
  }
  auto made = make_owned_directories(directory.get(), missing, request.uid, request.gid, deadline);
  if (!made) made.error().step = step + ": " + made.error().step;
  return made;
}

Op<void> share_directory(const Roots& roots, const wire::ShareDirectory& request) {
  const std::string step = "share '" + request.path + "'";
  if (request.gid == 0) return refuse(Code::kInvalidArgument, step, "gid must not be 0");
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  UniqueFd directory = open_beneath(place->root, place->relative, O_RDONLY | O_DIRECTORY);
  if (!directory) return failed(step);
  struct stat info{};
  if (::fstat(directory.get(), &info) != 0) return failed(step);
  if (info.st_uid != 0) return refuse(Code::kPermissionDenied, step, "it does not belong to root");
  AsGroup group(request.gid);
  if (!group.ok()) return failed("take on group " + std::to_string(request.gid));
  if (::fchown(directory.get(), static_cast<uid_t>(-1), shown_id(request.gid)) != 0) return failed(step);
  if (::fchmod(directory.get(), 0775) != 0) return failed(step);
  return {};
}

}  // namespace mcpbox::box::init
