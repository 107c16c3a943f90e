// Which ids a native sandbox can have, and what it takes to give them to it.
//
// Root maps what it needs. An ordinary user maps itself and its range of /etc/subuid and /etc/subgid with newuidmap(1)
// and newgidmap(1). In both cases ids mean inside what they mean outside wherever a sandbox's user can meet them: the
// user itself, and as root the owners of bound folders; root inside is root's 0 or the first id of the range.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/engine.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box {

struct NativeIds {
  std::vector<wire::IdRange> uids;
  std::vector<wire::IdRange> gids;
  std::string newuidmap;  // empty as root
  std::string newgidmap;
  UidRange servers;  // the ids that servers and installers can have
  bool one = false;  // one id each, and `servers` are names in namespaces of the servers' own: one server per sandbox
  std::string why_one;  // what is missing for more, for people
};

// The first range of /etc/subuid or /etc/subgid for the user, by name or number; empty when there is none (subuid(5)).
struct SubRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  bool operator==(const SubRange&) const = default;
};
std::optional<SubRange> find_sub_range(std::string_view file, std::string_view user, uid_t uid);

// The ids for uid:gid with these ranges; `owners` only count as root.
NativeIds ids_for_root(const std::vector<std::pair<uid_t, gid_t>>& owners);
NativeIds ids_for_one(uid_t uid, gid_t gid);
NativeIds ids_for_user(uid_t uid, gid_t gid, SubRange uids, SubRange gids);

// For this process. Without newuidmap(1) or a range an ordinary user has one id; kFailedPrecondition where the kernel
// has no Landlock either, which that needs. `only_one` is for tests.
Result<NativeIds> native_ids(const std::vector<std::pair<uid_t, gid_t>>& owners, bool only_one = false);

}  // namespace mcpbox::box
