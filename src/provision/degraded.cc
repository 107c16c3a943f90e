#include "provision/degraded.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/setting_name.h"
#include "base/text.h"
#include "config/settings.h"

namespace mcpbox::provision {
namespace {

constexpr int kLandlockTcp = 4;  // ABI, Linux 6.7

}  // namespace

std::vector<Degradation> degradations(const box::SupervisorInfo& info, std::string_view spaces, bool alone) {
  std::vector<Degradation> out;
  if (!info.seccomp) {
    out.push_back({"",
                   "the kernel here has no system call filters (seccomp) or does not let sandboxes use them, and no "
                   "server runs without one",
                   "use a kernel with CONFIG_SECCOMP_FILTER"});
  }
  if (info.landlock_abi < 1) {
    out.push_back({config::kNoLandlock,
                   fmt::format("the kernel here ({}) has no Landlock or does not let sandboxes use it, so nothing but "
                               "user ids keeps the server from files that are not its own",
                               info.kernel.empty() ? "unknown" : printable(info.kernel, 80)),
                   "use Linux 5.13 or newer, with landlock in its lsm= list"});
  }
  // In a sandbox that servers share, something has to keep them from each other's ports.
  if (!alone && spaces == "none" && info.landlock_abi < kLandlockTcp) {
    out.push_back({config::kNoNamespaces,
                   "the engine gives servers no namespaces of their own, and this kernel's Landlock does not keep them "
                   "from each other's ports and sockets, so servers in one sandbox could reach each other",
                   "give the server a sandbox of its own (`isolation: dedicated`), or use Linux 6.7 or newer"});
  }
  return out;
}

Result<void> accept_degradations(const std::vector<Degradation>& found, const std::vector<std::string>& accepted,
                                 std::string_view server, std::vector<std::string>& notes) {
  for (const Degradation& each : found) {
    if (each.name.empty()) {
      return fail(Code::kFailedPrecondition,
                  fmt::format("'{}' is not started: {}: {}", printable(server, 100), each.what, each.instead));
    }
    if (std::ranges::find(accepted, each.name) == accepted.end()) {
      return fail(
          Code::kFailedPrecondition,
          fmt::format("'{}' is not started: {}. Either {}, or accept it: `{}`; `mcpbox doctor` says what this "
                      "machine has",
                      printable(server, 100), each.what, each.instead,
                      settings_from() == SettingsFrom::kOptions ? fmt::format("--accept-degraded {}", each.name)
                                                                : fmt::format("box.accept_degraded: [{}]", each.name)));
    }
    notes.push_back(fmt::format("accepted ({} {}): {}", setting_name("accept_degraded:", "--accept-degraded"),
                                each.name, each.what));
  }
  return {};
}

}  // namespace mcpbox::provision
