#include "box/init/seal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxSealDepth = 200;

struct SealLevel {
  UniqueFd directory;
  std::vector<std::string> names;  // not yet visited
};

// A directory gets its final mode before it is entered: 0555 is enough to walk it, and works where nothing was allowed
// before.
Op<SealLevel> enter(int parent, const std::string& name) {
  UniqueFd path(::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!path) return failed("open '" + name + "'");
  const std::string self = "/proc/self/fd/" + std::to_string(path.get());
  if (::chmod(self.c_str(), 0555) != 0) return failed("seal '" + name + "'");
  UniqueFd directory(::openat(path.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return failed("open '" + name + "'");
  auto names = names_in(directory.get(), static_cast<std::size_t>(-1));
  if (!names) return std::unexpected(names.error());
  return SealLevel{std::move(directory), std::move(*names)};
}

Op<std::string> seal_all(int root, const std::string& relative) {
  UniqueFd parent =
      open_beneath(root, relative.substr(0, relative.rfind('/') == std::string::npos ? 0 : relative.rfind('/')),
                   O_PATH | O_DIRECTORY);
  if (!parent) return failed("open the directory above");
  auto top = enter(parent.get(), relative.substr(relative.rfind('/') + 1));
  if (!top) return std::unexpected(top.error());
  std::vector<SealLevel> levels;
  levels.push_back(std::move(*top));
  while (!levels.empty()) {
    SealLevel& level = levels.back();
    if (level.names.empty()) {
      levels.pop_back();
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    struct stat info{};
    if (::fstatat(level.directory.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return failed("inspect '" + name + "'");
    if (S_ISDIR(info.st_mode)) {
      if (levels.size() == kMaxSealDepth)
        return refuse(Code::kInvalidArgument, "seal '" + name + "'", "nested too deeply");
      auto next = enter(level.directory.get(), name);
      if (!next) return std::unexpected(next.error());
      levels.push_back(std::move(*next));
    } else if (S_ISREG(info.st_mode)) {
      const mode_t mode = info.st_mode & 0111 ? 0555 : 0444;
      if (::fchmodat(level.directory.get(), name.c_str(), mode, 0) != 0) return failed("seal '" + name + "'");
    }
  }
  return std::string();
}

}  // namespace

Op<void> seal(const Roots& roots, const wire::Seal& request, Clock::time_point deadline) {
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  // Also makes sure that everything above is root's, so that the owner cannot have put something else in its way.
  auto entry = open_parent(*place, false);
  if (!entry) return std::unexpected(entry.error());
  auto sealed = run_as(request.uid, request.uid, deadline, [&] { return seal_all(place->root, place->relative); });
  if (!sealed) {
    sealed.error().step = "seal '" + request.path + "': " + sealed.error().step;
    return std::unexpected(sealed.error());
  }
  return {};
}

}  // namespace mcpbox::box::init
