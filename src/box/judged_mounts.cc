#include "box/judged_mounts.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace mcpbox::box {

Error exchanged(const std::string& source) {
  return Error(Code::kAborted,
               fmt::format("'{}' is not the folder any more that was checked: something that may write above it put "
                           "another in its place just now, so nothing was started. Start it again; if that repeats, "
                           "stop what changes the folder (a server with a writable mount above it can)",
                           printable(source, 512)));
}

Task<Result<void>> check_judged_mounts(Supervisor& supervisor, std::vector<Mount> mounts) {
  std::erase_if(mounts, [](const Mount& mount) { return !mount.judged; });
  if (mounts.empty()) co_return Result<void>{};
  std::vector<std::string> targets;
  for (const Mount& mount : mounts) targets.push_back(mount.target);
  auto found = co_await supervisor.identify(std::move(targets));
  if (!found) co_return fail(std::move(found).error());
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const auto& [id, error] = (*found)[i];
    if (error == ELOOP) {
      co_return fail(Code::kFailedPrecondition,
                     fmt::format("a link leads elsewhere on the way to '{}' in the sandbox, so '{}' was not mounted "
                                 "there; give the folder another place, or use an image without that link",
                                 printable(mounts[i].target, 512), printable(mounts[i].source, 512)));
    }
    if (error != 0) {
      co_return fail(
          Code::kFailedPrecondition,
          fmt::format("what is mounted at '{}' cannot be compared with '{}', which was checked: {}",
                      printable(mounts[i].target, 512), printable(mounts[i].source, 512), std::strerror(error)));
    }
    if (mounts[i].judged != id) co_return fail(exchanged(mounts[i].source));
  }
  co_return Result<void>{};
}

}  // namespace mcpbox::box
