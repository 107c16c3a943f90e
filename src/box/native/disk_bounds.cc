#include "box/native/disk_bounds.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "box/native/project_quota.h"
#include "box/wire/disk_room.h"
#include "net/offload.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;

struct BoundFolder {
  std::string inside;  // its path in the sandbox
  std::string place;   // on the host, what the sandbox shows of it …
  std::string below;   // … and where the folder is in that; empty = it is the place itself
};

UniqueFd open_plain(const char* path) {
  return UniqueFd(::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Makes what is missing as PID 1 would. Servers cannot write in any of the folders on the way.
Result<UniqueFd> open_or_make(const BoundFolder& folder) {
  UniqueFd at = open_plain(folder.place.c_str());
  if (!at) return fail(errno_error(errno, printable(folder.place)));
  for (const std::string_view part : split(folder.below, '/')) {
    const std::string name(part);
    if (name.empty() || name == "." || name == "..") continue;
    const bool made = ::mkdirat(at.get(), name.c_str(), 0711) == 0;
    if (!made && errno != EEXIST) return fail(errno_error(errno, printable(folder.inside)));
    UniqueFd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat info{};
    if (!next || ::fstat(next.get(), &info) != 0 || (made && ::fchmod(next.get(), 0711) != 0))
      return fail(errno_error(errno, printable(folder.inside)));
    if (info.st_uid != 0) return fail(Code::kPermissionDenied, printable(folder.inside) + " does not belong to root");
    at = std::move(next);
  }
  return at;
}

using Places = std::map<std::string, std::string>;

Result<std::vector<BoundFolder>> find_folders(const DiskShare& share, const Places& places) {
  std::vector<BoundFolder> found;
  for (const std::string& path : share.folders) {
    const auto holds = [&](const auto& place) { return path == place.first || path.starts_with(place.first + "/"); };
    const Places::value_type* nearest = nullptr;
    for (const auto& place : places) {
      if (holds(place) && (nearest == nullptr || place.first.size() > nearest->first.size())) nearest = &place;
    }
    if (nearest == nullptr) return fail(Code::kNotFound, printable(path) + " is no folder of the sandbox's own");
    found.push_back({path, nearest->second, path.substr(nearest->first.size())});
  }
  return found;
}

// The numbers are the file system's, on which `base` lies too.
Result<std::uint32_t> claim_folders(const std::string& base, const std::vector<BoundFolder>& folders, uid_t owner) {
  struct stat whole{};
  if (::stat(base.c_str(), &whole) != 0) return fail(errno_error(errno, printable(base)));
  std::vector<UniqueFd> open;
  for (const BoundFolder& folder : folders) {
    auto at = open_or_make(folder);
    if (!at) return fail(std::move(at).error());
    struct stat info{};
    if (::fstat(at->get(), &info) != 0) return fail(errno_error(errno, printable(folder.inside)));
    if (info.st_dev != whole.st_dev)
      return fail(Code::kFailedPrecondition, "its folders lie on more than one file system");
    open.push_back(std::move(*at));
  }
  return claim_project(kernel_quotas(), open, owner);
}

Result<ProjectUse> use_besides(const std::vector<BoundFolder>& folders, const std::vector<std::string>& own) {
  ProjectUse sum;
  for (const BoundFolder& folder : folders) {
    if (std::ranges::find(own, folder.inside) != own.end()) continue;
    std::vector<std::string> names;
    for (const std::string& path : own) {
      if (path.starts_with(folder.inside + "/")) names.push_back(path.substr(folder.inside.size() + 1));
    }
    auto at = open_or_make(folder);
    if (!at) return fail(std::move(at).error());
    const auto use = use_beside(at->get(), names);
    if (!use) return fail(use.error());
    sum.bytes += use->bytes;
    sum.files += use->files;
  }
  return sum;
}

class ProjectBound final : public DiskBound {
 public:
  ProjectBound(std::shared_ptr<asio::thread_pool> pool, std::string base, std::vector<BoundFolder> folders,
               std::uint32_t id)
      : pool_(std::move(pool)), base_(std::move(base)), folders_(std::move(folders)), id_(id) {}

  Task<Result<void>> tighten(ServerLimits limits) override {
    auto work = [base = base_, folders = folders_, id = id_, now = limits]() -> Result<ProjectUse> {
      const UniqueFd at = open_plain(base.c_str());
      if (!at) return fail(errno_error(errno, printable(base)));
      auto besides = use_besides(folders, now.own);
      // What cannot be looked through (a server can make such a tree) is no more than all that it has.
      if (!besides) besides = kernel_quotas().use(at.get(), id);
      if (!besides) return besides;
      const auto bound = [](std::uint64_t limit, std::uint64_t more) { return limit == 0 ? 0 : limit + more; };
      auto set = kernel_quotas().limit(at.get(), id, bound(now.disk_bytes, besides->bytes + wire::kRoomBytes),
                                       bound(now.files, besides->files + wire::kRoomFiles));
      if (!set) return fail(std::move(set).error());
      return besides;
    };
    auto besides = co_await net::offload(*pool_, std::move(work));
    if (!besides) co_return fail(std::move(besides).error());
    besides_ = *besides;
    limits_ = std::move(limits);
    co_return Result<void>{};
  }

  PassedLimit reached() const override {
    const UniqueFd at = open_plain(base_.c_str());
    if (!at) return {};
    const auto use = kernel_quotas().use(at.get(), id_);
    if (!use) return {};
    const std::uint64_t bytes = use->bytes - std::min(use->bytes, besides_.bytes);
    const std::uint64_t files = use->files - std::min(use->files, besides_.files);
    if (limits_.disk_bytes != 0 && bytes > limits_.disk_bytes) return {LimitKind::kDisk, limits_.disk_bytes, bytes};
    if (limits_.files != 0 && files > limits_.files) return {LimitKind::kFiles, limits_.files, files};
    return {};
  }

 private:
  std::shared_ptr<asio::thread_pool> pool_;
  std::string base_;
  std::vector<BoundFolder> folders_;
  std::uint32_t id_;
  ServerLimits limits_;
  ProjectUse besides_;
};

}  // namespace

bool DiskBounds::here() const {
  if (::geteuid() != 0) return false;
  const UniqueFd at = open_plain(base_.c_str());
  const auto enforced = at ? kernel_quotas().enforced(at.get()) : Result<bool>(false);
  return enforced && *enforced;
}

boost::asio::thread_pool& DiskBounds::pool() {
  if (!pool_) pool_ = std::make_shared<asio::thread_pool>(1);
  return *pool_;
}

Task<Result<std::shared_ptr<DiskBound>>> DiskBounds::bound(DiskShare share, std::map<std::string, std::string> places) {
  if (share.folders.empty() || !here()) co_return std::shared_ptr<DiskBound>();
  auto folders = find_folders(share, places);
  if (!folders) co_return fail(std::move(folders).error());
  auto claim = [base = base_, folders = *folders, owner = share.owner] { return claim_folders(base, folders, owner); };
  const bool first = !pool_;
  auto id = co_await net::offload(pool(), std::move(claim));
  if (first) co_await tidy();
  if (!id) co_return fail(std::move(id).error());
  co_return std::make_shared<ProjectBound>(pool_, base_, std::move(*folders), *id);
}

Task<void> DiskBounds::tidy() {
  if (!here()) co_return;
  auto dropped = co_await net::offload(pool(), [base = base_] { return drop_unused_limits(kernel_quotas(), base); });
  if (!dropped) log::warning("engine", "limits of disk that nobody uses any more stay: {}", dropped.error().message());
}

std::string DiskBounds::describe() const {
  return describe_disk_limits(kernel_quotas(), base_, ::geteuid() == 0);
}

}  // namespace mcpbox::box
