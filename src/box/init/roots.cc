#include "box/init/roots.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {

Op<void> Roots::add(const std::string& path) {
  if (path.size() < 2 || path.front() != '/' || !wire::is_stage_path(std::string_view(path).substr(1))) {
    return refuse(Code::kInvalidArgument, "use root '" + path + "'", "must be an absolute path without '..'");
  }
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return failed("open root '" + path + "'");
  roots_.push_back({path, std::move(fd)});
  return {};
}

Op<Place> Roots::find(const std::string& path) const {
  if (path.size() < 2 || path.front() != '/' || !wire::is_stage_path(std::string_view(path).substr(1))) {
    return refuse(Code::kInvalidArgument, "use '" + path + "'", "must be an absolute path without '..'");
  }
  const Root* best = nullptr;
  for (const Root& root : roots_) {
    const bool beneath = path == root.path || (path.starts_with(root.path) && path[root.path.size()] == '/');
    if (beneath && (best == nullptr || root.path.size() > best->path.size())) best = &root;
  }
  if (best == nullptr) {
    return refuse(Code::kPermissionDenied, "use '" + path + "'",
                  "is beneath none of the roots that mcpbox-init works in");
  }
  return Place{best->fd.get(), path == best->path ? "" : path.substr(best->path.size() + 1), path};
}

std::vector<int> Roots::descriptors() const {
  std::vector<int> out;
  for (const Root& root : roots_) out.push_back(root.fd.get());
  return out;
}

UniqueFd open_beneath(int directory, const std::string& relative, int flags) {
  struct open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY));
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const char* path = relative.empty() ? "." : relative.c_str();
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how)));
}

Op<Entry> open_parent(const Place& place, bool make) {
  if (place.relative.empty()) {
    return refuse(Code::kInvalidArgument, "use '" + place.shown + "'", "is a root itself; name something in it");
  }
  const auto check_owner = [&](int fd) -> Op<void> {
    struct stat info{};
    if (::fstat(fd, &info) != 0) return failed("inspect a parent of '" + place.shown + "'");
    if (info.st_uid != 0) {
      return refuse(Code::kPermissionDenied, "use '" + place.shown + "'",
                    "a directory above it belongs to uid " + std::to_string(info.st_uid) + ", not to root");
    }
    return {};
  };
  UniqueFd current = open_beneath(place.root, "", O_PATH | O_DIRECTORY);
  if (!current) return failed("open the root of '" + place.shown + "'");
  std::string_view rest = place.relative;
  while (true) {
    if (auto owned = check_owner(current.get()); !owned) return std::unexpected(owned.error());
    const std::size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    if (slash == std::string_view::npos) return Entry{std::move(current), name};
    if (make && ::mkdirat(current.get(), name.c_str(), 0711) != 0 && errno != EEXIST) {
      return failed("make '" + name + "' for '" + place.shown + "'");
    }
    UniqueFd next = open_beneath(current.get(), name, O_PATH | O_DIRECTORY);
    if (!next) return failed("open '" + name + "' on the way to '" + place.shown + "'");
    current = std::move(next);
    rest.remove_prefix(slash + 1);
  }
}

Op<std::vector<std::string>> names_in(int directory, std::size_t limit) {
  // A stream of its own: the position of `directory` is shared with nobody.
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed("read a directory");
  DIR* stream = ::fdopendir(fd.get());
  if (stream == nullptr) return failed("read a directory");
  (void)fd.release();
  std::vector<std::string> names;
  int error = 0;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == limit) {
      error = EOVERFLOW;
      break;
    }
    names.emplace_back(name);
  }
  ::closedir(stream);
  if (error != 0) return failed("read a directory", error);
  return names;
}

std::string random_name(std::string_view prefix) {
  unsigned char bytes[16];
  std::string out(prefix);
  // Blocks only before the machine has seeded its generator; cannot fail for 16 bytes after that (getrandom(2)).
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) ::_exit(125);
  for (const unsigned char byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

}  // namespace mcpbox::box::init
