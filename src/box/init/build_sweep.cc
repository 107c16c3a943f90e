#include "box/init/build_sweep.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "box/init/roots.h"

namespace mcpbox::box::init {
namespace {

// What is nested deeper is brought up first: a descriptor for each level is all that this takes.
constexpr std::size_t kMaxSweepDepth = 512;

struct SweepLevel {
  UniqueFd directory;
  std::string name;
  std::vector<std::string> names;
};

Op<SweepLevel> enter(int parent, const std::string& name, dev_t device) {
  SweepLevel level;
  level.name = name;
  level.directory.reset(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!level.directory || ::fstat(level.directory.get(), &info) != 0) return failed("open '" + name + "'");
  if (info.st_dev != device)
    return refuse(Code::kFailedPrecondition, "remove '" + name + "'", "something is mounted there");
  auto names = names_in(level.directory.get(), static_cast<std::size_t>(-1));
  if (!names) return std::unexpected(names.error());
  level.names = std::move(*names);
  return level;
}

}  // namespace

Op<void> sweep_tree(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (path.empty() || path.front() != '/' || slash + 1 == path.size())
    return refuse(Code::kInvalidArgument, "remove '" + path + "'", "is not a path");
  UniqueFd parent(::open(path.substr(0, slash == 0 ? 1 : slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return errno == ENOENT ? Op<void>() : failed("open the directory of '" + path + "'");
  const std::string name = path.substr(slash + 1);
  struct stat info{};
  if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Op<void>() : failed("inspect '" + path + "'");
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(parent.get(), name.c_str(), 0) != 0) return failed("remove '" + path + "'");
    return {};
  }
  auto top = enter(parent.get(), name, info.st_dev);
  if (!top) return std::unexpected(top.error());
  std::vector<SweepLevel> levels;
  levels.push_back(std::move(*top));
  std::uint64_t raised = 0;
  while (!levels.empty()) {
    if (levels.back().names.empty()) {
      const std::string done = levels.back().name;
      levels.pop_back();
      const int above = levels.empty() ? parent.get() : levels.back().directory.get();
      if (::unlinkat(above, done.c_str(), AT_REMOVEDIR) != 0) return failed("remove '" + done + "' in '" + path + "'");
      continue;
    }
    const std::string entry = std::move(levels.back().names.back());
    levels.back().names.pop_back();
    const int here = levels.back().directory.get();
    if (::unlinkat(here, entry.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return failed("remove '" + entry + "' in '" + path + "'");
    if (levels.size() == kMaxSweepDepth) {
      const std::string moved = random_name("deep-") + std::to_string(++raised);
      if (::renameat(here, entry.c_str(), levels.front().directory.get(), moved.c_str()) != 0)
        return failed("move '" + entry + "' up");
      levels.front().names.push_back(moved);
      continue;
    }
    auto next = enter(here, entry, info.st_dev);
    if (!next) return std::unexpected(next.error());
    levels.push_back(std::move(*next));
  }
  return {};
}

}  // namespace mcpbox::box::init
