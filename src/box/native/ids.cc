#include "box/native/ids.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <set>

#include "base/errno_error.h"
#include "base/landlock.h"
#include "base/text.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

constexpr std::uint32_t kFewest = 1000;  // a range with less makes ids of different servers meet
constexpr std::size_t kMaxOwners = 64;   // a map has at most 340 lines (user_namespaces(7))

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Empty where there is none.
Result<std::string> administrators_file(const char* path) {
  auto text = sys::read_file(path, 1u << 20, sys::Links::kFollow);
  if (!text && text.error().code() == Code::kNotFound) return std::string();
  return text;
}

std::string find_program(const char* name) {
  for (const char* directory : {"/usr/bin/", "/bin/", "/usr/local/bin/"}) {
    const std::string path = std::string(directory) + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION.
bool kernel_has_landlock() {
  return landlock::abi() > 0;
}

std::vector<wire::IdRange> root_map(std::set<std::uint32_t> owners) {
  const UidRange range;
  std::vector<wire::IdRange> map{{0, 0, 1}};
  for (const std::uint32_t id : owners) {
    if (id != 0 && (id < range.first || id - range.first >= range.count) && map.size() < kMaxOwners)
      map.push_back({id, id, 1});
  }
  map.push_back({range.first, range.first, range.count});
  return map;
}

}  // namespace

std::optional<SubRange> find_sub_range(std::string_view file, std::string_view user, uid_t uid) {
  for (const std::string_view line : split(file, '\n')) {
    const auto fields = split(line, ':');
    if (fields.size() != 3 || (fields[0] != user && fields[0] != std::to_string(uid))) continue;
    const auto first = number(fields[1]);
    const auto count = number(trim(fields[2]));
    if (first && count && *first != 0 && *count != 0 && *first <= UINT32_MAX - *count) return SubRange{*first, *count};
  }
  return std::nullopt;
}

std::uint32_t some_payer() {
  // Above the servers' own, and below 2^31. Two sandboxes that meet share what one has.
  const UidRange range;
  const std::uint32_t first = range.first + range.count;
  return first + std::random_device()() % (0x7fffffffu - first);
}

NativeIds ids_for_root(const std::vector<std::pair<uid_t, gid_t>>& owners) {
  std::set<std::uint32_t> uids, gids;
  for (const auto& [uid, gid] : owners) uids.insert(uid), gids.insert(gid);
  NativeIds ids;
  ids.uids = root_map(std::move(uids));
  ids.gids = root_map(std::move(gids));
  return ids;
}

NativeIds ids_for_user(uid_t uid, gid_t gid, SubRange uids, SubRange gids) {
  NativeIds ids;
  const std::uint32_t count = std::min(uids.count, gids.count) - 1;
  ids.servers = UidRange{UidRange().first, count};
  ids.uids = {{0, uids.first, 1}, {uid, uid, 1}, {ids.servers.first, uids.first + 1, count}};
  ids.gids = {{0, gids.first, 1}, {gid, gid, 1}, {ids.servers.first, gids.first + 1, count}};
  return ids;
}

NativeIds ids_for_one(uid_t uid, gid_t gid) {
  NativeIds ids;
  ids.uids = {{0, uid, 1}};
  ids.gids = {{0, gid, 1}};
  ids.one = true;
  return ids;
}

Result<NativeIds> native_ids(const std::vector<std::pair<uid_t, gid_t>>& owners, bool only_one) {
  const uid_t uid = ::geteuid();
  if (uid == 0) return ids_for_root(owners);
  errno = 0;
  const passwd* entry = ::getpwuid(uid);
  // Without the name its range would not be found, and servers would share one id.
  if (entry == nullptr && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO))
    return fail(errno_error(errno, "cannot look up this user's name"));
  const std::string user = entry != nullptr ? entry->pw_name : std::to_string(uid);
  const std::string newuidmap = find_program("newuidmap");
  const std::string newgidmap = find_program("newgidmap");
  const auto subuid = administrators_file("/etc/subuid");
  if (!subuid) return fail(subuid.error());
  const auto subgid = administrators_file("/etc/subgid");
  if (!subgid) return fail(subgid.error());
  const auto uids = find_sub_range(*subuid, user, uid);
  const auto gids = find_sub_range(*subgid, user, uid);
  std::string missing;
  if (newuidmap.empty() || newgidmap.empty()) {
    missing =
        "newuidmap and newgidmap are missing: install the package 'uidmap' (Debian, Ubuntu) or 'shadow-utils' (Fedora)";
  } else if (!uids || !gids || std::min(uids->count, gids->count) < kFewest) {
    missing = fmt::format(
        "'{}' has no range of at least {} ids in /etc/subuid and /etc/subgid: run `usermod --add-subuids 200000-265535 "
        "--add-subgids "
        "200000-265535 {}` as root, with a range that nobody else has",
        printable(user), kFewest, printable(user));
  }
  if (missing.empty() && !only_one) {
    NativeIds ids = ids_for_user(uid, ::getegid(), *uids, *gids);
    ids.newuidmap = newuidmap;
    ids.newgidmap = newgidmap;
    return ids;
  }
  if (!kernel_has_landlock()) {
    return fail(
        Code::kFailedPrecondition,
        "the native engine keeps servers from mcpbox's own files by user ids or by Landlock, and here is neither: " +
            missing + "; or use a kernel with Landlock, or a Docker-compatible engine");
  }
  NativeIds ids = ids_for_one(uid, ::getegid());
  ids.why_one = missing;
  return ids;
}

}  // namespace mcpbox::box
