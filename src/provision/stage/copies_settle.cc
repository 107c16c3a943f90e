// Part of copies.h: brings the copies that a server has in line with what it is to have.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/task_group.h"
#include "provision/stage/copies.h"
#include "provision/stage/copy_paths.h"

namespace mcpbox::provision {
namespace {

// Larger than anything that a server may have staged, smaller than what would keep PID 1 busy for ever.
constexpr std::uint64_t kMaxEntries = 1'000'000;
constexpr std::uint64_t kMaxBytes = 64ull << 30;

struct Wanted {
  std::string host, mount;
  bool own = false;
};

bool fits(const Copy& copy, const Wanted& wanted) {
  return copy.host == wanted.host && copy.path == wanted.mount && wanted.own == (copy.kind == Copy::Kind::kOwn);
}

box::Supervisor::PackRequest packing_of(std::string path, const StageTarget& owner) {
  box::Supervisor::PackRequest pack;
  pack.path = std::move(path);
  pack.uid = owner.uid;
  pack.gid = owner.gid;
  pack.entries = kMaxEntries;
  pack.bytes = pack.file_bytes = kMaxBytes;
  pack.timeout = owner.timeout;
  return pack;
}

Task<bool> belongs_to(box::Supervisor& supervisor, std::string path, StageTarget owner) {
  UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  co_return (co_await supervisor.pack(packing_of(std::move(path), owner), std::move(nowhere))).has_value();
}

}  // namespace

Task<Result<std::uint64_t>> copy_tree(box::Supervisor& supervisor, std::string from, StageTarget from_owner,
                                      std::string to, StageTarget owner) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe between two trees"));
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  from_owner.timeout = owner.timeout;
  box::Supervisor::PackRequest pack = packing_of(std::move(from), from_owner);
  box::Supervisor::UnpackRequest unpack;
  unpack.path = std::move(to);
  unpack.uid = owner.uid;
  unpack.gid = owner.gid;
  unpack.timeout = owner.timeout;

  using Packed = std::optional<Result<box::Supervisor::PackTotals>>;
  const auto packed = std::make_shared<Packed>();  // the task's too, when this is cancelled
  net::TaskGroup packing(co_await boost::asio::this_coro::executor, "pack");
  const auto run = [](box::Supervisor& link, box::Supervisor::PackRequest request, UniqueFd out,
                      std::shared_ptr<Packed> result) -> Task<void> {
    *result = co_await link.pack(std::move(request), std::move(out));
  };
  packing.spawn("pack", run(supervisor, std::move(pack), std::move(write_end), packed));
  auto unpacked = co_await supervisor.unpack(std::move(unpack), std::move(read_end));
  co_await packing.join();
  std::uint64_t skipped = 0;
  if (packed->has_value()) {
    Result<box::Supervisor::PackTotals>& totals = packed->value();
    if (!totals) co_return fail(std::move(totals).error());
    skipped = totals->skipped;
  }
  if (!unpacked) co_return fail(std::move(unpacked).error());
  co_return skipped;
}

Task<Result<void>> CopyList::move(box::Supervisor& supervisor, std::vector<std::size_t> which, std::string from,
                                  std::string to, uid_t owner) {
  for (const std::size_t i : which) copies_[i].next = to + copies_[i].path.substr(from.size());
  if (auto saved = co_await save(supervisor); !saved) co_return saved;
  auto moved = co_await supervisor.publish(from, to, owner);
  // PID 1 may still rename it: the list goes on speaking of both places, and the next start finds out.
  if (!moved && !surely_not_renamed(moved.error())) co_return moved;
  for (const std::size_t i : which) {
    if (moved) copies_[i].path = copies_[i].next;
    copies_[i].next.clear();
  }
  auto saved = co_await save(supervisor);
  co_return moved ? saved : moved;
}

// PID 1 cannot give files away: they are written anew by the one who is to have them.
Task<Result<void>> CopyList::give_tree_to(box::Supervisor& supervisor, const StageTarget& user) {
  StageTarget before = user;
  before.uid = uid_;
  before.gid = gid_;
  const auto give = [&](std::string path, StageTarget owner) -> Task<Result<void>> {
    const std::string fresh = fmt::format("{}/{}{}", parent_of(path), kUnfinished, random_hex(8));
    auto copied = co_await copy_tree(supervisor, path, owner, fresh, user);
    if (!copied && copied.error().code() == Code::kNotFound) co_return Result<void>{};
    // Given already by a start that was killed before it noted that.
    if (!copied && copied.error().code() == Code::kPermissionDenied && co_await belongs_to(supervisor, path, user))
      co_return Result<void>{};
    if (!copied) co_return fail(std::move(copied).error());
    if (*copied > 0) {
      log::warning(place_.process_id, "{} entries of {} could not be given to the server's new user id", *copied,
                   printable(path));
    }
    co_return co_await supervisor.publish(fresh, path, user.uid);
  };
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    Copy& copy = copies_[i];
    if (copy.kind != Copy::Kind::kOwn || (copy.uid == user.uid && copy.gid == user.gid)) continue;
    StageTarget owner = user;
    owner.uid = copy.uid;
    owner.gid = copy.gid;
    if (auto given = co_await give(copy.path, owner); !given) co_return given;
    copy.uid = user.uid;
    copy.gid = user.gid;
    if (auto saved = co_await save(supervisor); !saved) co_return saved;
  }
  if (auto given = co_await give(place_.tree + "/home", before); !given) co_return given;
  if (auto gone = co_await supervisor.remove_tree(place_.tree + "/tmp", uid_); !gone) co_return gone;
  uid_ = user.uid;
  gid_ = user.gid;
  co_return co_await save(supervisor);
}

Task<Result<void>> CopyList::put_back(box::Supervisor& supervisor, std::size_t which, std::string mount,
                                      const StageTarget& user, std::vector<std::string>& notes) {
  const std::string from = copies_[which].path;
  if (parent_of(from) == parent_of(mount)) co_return co_await move(supervisor, {which}, from, mount, user.uid);
  if (auto made = co_await flush(supervisor); !made) co_return made;
  // A directory cannot be moved to another one by somebody who does not own it.
  const std::string fresh = fmt::format("{}/{}{}", parent_of(mount), kUnfinished, random_hex(8));
  auto left = co_await copy_tree(supervisor, from, user, fresh, user);
  if (!left) co_return fail(std::move(left).error());
  if (auto placed = co_await supervisor.publish(fresh, mount, user.uid); !placed) co_return placed;
  Copy placed = copies_[which];
  placed.path = mount;
  if (*left > 0) {
    notes.push_back(fmt::format("{} entries of the copy of {} could not be taken to its new place; they are kept",
                                *left, printable(placed.host)));
    if (auto noted = put(std::move(placed)); !noted) co_return noted;
    co_return co_await flush(supervisor);
  }
  copies_[which] = std::move(placed);
  if (auto saved = co_await save(supervisor); !saved) co_return saved;
  co_return co_await supervisor.remove_tree(from, user.uid);
}

// A copy leaves the list before it is removed, and what removes it can be killed in between. Nothing is put at these
// names before the list speaks of it.
Task<void> CopyList::sweep(box::Supervisor& supervisor, const StageTarget& user) {
  for (const std::string& name : names_) {
    const std::string path = fmt::format("{}/{}", place_.tree, name);
    const bool a_copys = name.starts_with(kKept) || (name == "workspace" && !several_);
    if (!a_copys || mentions(path)) continue;
    Result<void> gone = fail(Code::kInternal, "nobody's");
    for (const uid_t owner : std::set{uid_, user.uid, place_.code_uid}) {
      if (!gone) gone = co_await supervisor.remove_tree(path, owner);
    }
    if (!gone)
      log::warning(place_.process_id, "{}, which is not used any more, was not removed: {}", printable(path),
                   gone.error().message());
  }
}

Task<Result<std::vector<std::string>>> CopyList::settle(box::Supervisor& supervisor, const std::string& server,
                                                        const std::vector<workspace::Root>& roots, StageTarget user,
                                                        bool fresh) {
  const std::string workspace = place_.tree + "/workspace";
  std::vector<std::string> notes;
  std::vector<std::string> aside;  // folders whose copies are not used any more
  std::vector<Wanted> wanted;
  bool own_folder = true;
  bool several = false;
  for (const workspace::Root& root : roots) {
    wanted.push_back({root.host, root.mount, root.access == workspace::Access::kReadWrite});
    own_folder &= !root.mount.starts_with(workspace);
    several |= root.mount.starts_with(workspace + "/");
  }
  if (own_folder) wanted.push_back({"", workspace, true});

  if (auto finished = co_await finish_moves(supervisor); !finished) co_return fail(std::move(finished).error());
  co_await sweep(supervisor, user);
  if (uid_ != 0 && (uid_ != user.uid || gid_ != user.gid)) {
    if (auto given = co_await give_tree_to(supervisor, user); !given)
      co_return fail(std::move(given).error().with_context("giving what the server had to its new user id"));
  }

  if (fresh) {
    std::vector<std::string> written{place_.tree + "/home", place_.tree + "/tmp"};
    if (own_folder && at(workspace) != nullptr) written.push_back(workspace);
    for (const std::string& path : written) {
      if (auto gone = co_await supervisor.remove_tree(path, user.uid); !gone) co_return fail(std::move(gone).error());
    }
  }

  bool changed = uid_ != user.uid || several_ != several;
  for (std::size_t i = 0; i < copies_.size();) {
    const Copy copy = copies_[i];
    const bool used = std::ranges::any_of(wanted, [&](const Wanted& w) { return fits(copy, w); });
    if (used || is_kept(copy.path)) {
      ++i;
    } else if (copy.kind == Copy::Kind::kOwn) {
      std::string there = fmt::format("{}/{}{}", parent_of(copy.path), kKept, random_hex(8));
      auto moved = co_await move(supervisor, {i}, copy.path, std::move(there), copy.uid);
      if (!moved && moved.error().code() == Code::kNotFound) {
        copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(i));
        changed = true;
        continue;
      }
      if (!moved) co_return fail(std::move(moved).error().with_context("keeping " + printable(copy.path)));
      aside.push_back(copy.host);
      ++i;
    } else {
      if (auto dropped = co_await drop(supervisor, copy.path); !dropped) co_return fail(std::move(dropped).error());
      if (auto gone = co_await supervisor.remove_tree(copy.path, copy.uid); !gone)
        co_return fail(std::move(gone).error());
    }
  }

  if (several_ && !several) {
    std::vector<std::size_t> inside;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].path.starts_with(workspace + "/")) inside.push_back(i);
    }
    Result<void> cleared;
    if (inside.empty()) {
      cleared = co_await supervisor.remove_tree(workspace, user.uid);
    } else {
      cleared = co_await move(supervisor, std::move(inside), workspace,
                              fmt::format("{}/{}{}", place_.tree, kKept, random_hex(8)), 0);
    }
    if (!cleared) co_return fail(std::move(cleared).error());
  }
  several_ = several;

  std::vector<std::string> children{"home", "tmp"};
  if (own_folder && at(workspace) != nullptr) children.emplace_back("workspace");
  make_later(place_.tree, user, std::move(children));
  for (const workspace::Root& root : roots) {
    if (parent_of(root.mount) != place_.tree) make_later(parent_of(root.mount), user, {});
  }

  for (const Wanted& one : wanted) {
    if (!one.own || at(one.mount) != nullptr) continue;
    const auto kept = std::ranges::find_if(copies_, [&](const Copy& copy) {
      return copy.kind == Copy::Kind::kOwn && copy.host == one.host && is_kept(copy.path);
    });
    if (kept == copies_.end()) continue;
    if (fresh && !one.host.empty()) {
      const Copy dropped = *kept;
      if (auto done = co_await drop(supervisor, dropped.path); !done) co_return fail(std::move(done).error());
      if (auto gone = co_await supervisor.remove_tree(dropped.path, dropped.uid); !gone)
        co_return fail(std::move(gone).error());
      continue;
    }
    auto back = co_await put_back(supervisor, static_cast<std::size_t>(kept - copies_.begin()), one.mount, user, notes);
    if (!back) co_return fail(std::move(back).error().with_context("putting a kept copy back"));
    const bool just_moved = std::erase(aside, one.host) > 0;
    if (!one.host.empty() && !just_moved)
      notes.push_back(fmt::format("uses the copy of {} again that it had", printable(one.host)));
  }
  for (const std::string& host : aside) {
    if (host.empty()) continue;
    notes.push_back(
        fmt::format("the copy of {}, which the server could change, is not used any more and is kept; "
                    "`mcpbox pull {} --of {}` brings its changes back",
                    printable(host), server, printable(host)));
  }
  if (own_folder && at(workspace) == nullptr) {
    copies_.push_back({Copy::Kind::kOwn, "", workspace, "", "", user.uid, user.gid});
    changed = true;
    make_later(place_.tree, user, {"workspace"});
  }
  uid_ = user.uid;
  gid_ = user.gid;
  if (changed) {
    if (auto noted = note(); !noted) co_return fail(std::move(noted).error());
  }
  co_return notes;
}

}  // namespace mcpbox::provision
