// Which ids a native sandbox can have, and what it takes to give them to it.
//
// Root maps what it needs. An ordinary user maps itself and its range of /etc/subuid and /etc/subgid with newuidmap(1)
// and newgidmap(1). An id that owns files of the host has the same number inside and outside: that of the user, and for
// root those of the owners of bound folders. Root inside is 0 outside for root, for a user the first id of its range.
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
  // Only one user id and one group id are to be had: a sandbox takes one server, and `servers` are its ids in a user
  // namespace of its own (init/one_id.h).
  bool one = false;
  std::string why_one;  // for people: what is missing for more than one
};

// A host user that nobody is, for root's sandboxes: the kernel counts inotify instances, pending signals and the like
// for whoever owns a user namespace (namespaces(7)), and a server must not use up those of root.
std::uint32_t some_payer();

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

// The ids that this process can give. An ordinary user without newuidmap(1) or without a range has one; that needs
// Landlock, so kFailedPrecondition where the kernel has none. `only_one` is for tests.
Result<NativeIds> native_ids(const std::vector<std::pair<uid_t, gid_t>>& owners, bool only_one = false);

}  // namespace mcpbox::box
