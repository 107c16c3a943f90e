#include "provision/stage/copies.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "net/offload.h"
#include "provision/stage/copy_paths.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::provision {
namespace {

constexpr std::string_view kListName = ".copies";
constexpr std::string_view kHead = "mcpbox copies 1";
constexpr std::size_t kMaxList = 1u << 20;
constexpr std::array<std::string_view, 3> kKinds{"own", "sealed", "open"};  // Copy::Kind
constexpr std::string_view kOldNote = ".staged-";

std::string list_path(const GenerationPlace& place) {
  return fmt::format("{}/{}", place.tree, kListName);
}

std::string short_hash(const std::string& text) {
  return sha256_hex(text).substr(0, 16);
}

bool read_number(std::string_view text, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

Task<Result<bool>> exists(box::Supervisor& supervisor, std::string path) {
  auto names = co_await supervisor.list_directory(parent_of(path));
  if (names) co_return std::ranges::find(*names, base_name(path)) != names->end();
  if (names.error().code() == Code::kNotFound) co_return false;
  co_return fail(std::move(names).error());
}

}  // namespace

bool surely_not_renamed(const Error& of_publish) {
  switch (of_publish.code()) {
    case Code::kTimeout:
    case Code::kCancelled:
    case Code::kUnavailable:
    case Code::kDataLoss:
    case Code::kInternal:
      return false;
    default:
      return true;
  }
}

std::string manifest_path(const GenerationPlace& place, const std::string& host, bool own) {
  return fmt::format("{}/{}-{}{}", place.manifest_dir, place.process_id, short_hash(host), own ? "-own" : "");
}

Result<void> CopyList::parse(const std::string& text) {
  const auto lines = split(text, '\n');
  const auto unreadable = [&] {
    return fail(Code::kDataLoss, fmt::format("{} is damaged, so which copies are there is not known; `mcpbox restart "
                                             "--fresh` stages the server's folders again and drops its copies",
                                             list_path(place_)));
  };
  if (lines.size() < 3 || lines[0] != kHead || !lines.back().empty()) return unreadable();
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    const auto fields = split(lines[i], '\t');
    if (i == 1) {
      if (fields.size() != 4 || !read_number(fields[1], uid_) || !read_number(fields[2], gid_)) return unreadable();
      several_ = fields[3] == "several";
      continue;
    }
    Copy copy;
    const auto kind = fields.size() == 7 ? std::ranges::find(kKinds, fields[0]) : kKinds.end();
    if (kind == kKinds.end() || !read_number(fields[1], copy.uid) || !read_number(fields[2], copy.gid))
      return unreadable();
    copy.kind = static_cast<Copy::Kind>(kind - kKinds.begin());
    copy.generation = fields[3];
    copy.path = fields[4];
    copy.next = fields[5];
    copy.host = fields[6];
    if (!copy.path.starts_with('/')) return unreadable();
    copies_.push_back(std::move(copy));
  }
  return {};
}

Result<void> CopyList::note() {
  std::string text = fmt::format("{}\ntree\t{}\t{}\t{}\n", kHead, uid_, gid_, several_ ? "several" : "one");
  for (const Copy& copy : copies_) {
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", kKinds[static_cast<std::size_t>(copy.kind)], copy.uid, copy.gid,
                        copy.generation, copy.path, copy.next, copy.host);
  }
  if (text.size() > kMaxList)
    return fail(Code::kResourceExhausted, "too many copies are kept; `mcpbox down --volumes` removes them");
  later_.files = {{list_path(place_), std::move(text), place_.lasts}};
  return {};
}

Task<Result<void>> CopyList::save(box::Supervisor& supervisor) {
  if (auto noted = note(); !noted) co_return noted;
  co_return co_await flush(supervisor);
}

Task<Result<void>> CopyList::flush(box::Supervisor& supervisor) {
  if (later_.empty()) co_return Result<void>{};
  co_return co_await supervisor.prepare(take_preparation());
}

void CopyList::make_later(std::string path, const StageTarget& user, std::vector<std::string> children) {
  // Each one forks twice for its children: those of one directory go together.
  const auto same = std::ranges::find(later_.trees, path, &box::Preparation::Tree::path);
  if (same != later_.trees.end()) {
    same->children.insert(same->children.end(), children.begin(), children.end());
  } else {
    later_.trees.push_back({std::move(path), user.uid, user.gid, std::move(children)});
  }
}

Task<Result<CopyList>> CopyList::load(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                      GenerationPlace place, std::vector<workspace::Root> roots, StageTarget user,
                                      bool fresh) {
  CopyList list(std::move(place));
  if (!list.place_.lasts) co_return list;
  auto seen = co_await supervisor.look(list.place_.tree, {std::string(kListName)}, kMaxList);
  if (!seen && seen.error().code() == Code::kNotFound) co_return list;
  if (!seen) co_return fail(std::move(seen).error());
  list.names_ = std::move(seen->names);
  const std::optional<std::string>& text = seen->contents.front();
  if (!text) {
    if (auto converted = co_await list.convert(pool, supervisor, roots, user); !converted)
      co_return fail(std::move(converted).error());
    co_return list;
  }
  if (auto parsed = list.parse(*text); !parsed) {
    if (!fresh) co_return fail(std::move(parsed).error());
    list.copies_.clear();
    list.several_ = false;
    list.uid_ = user.uid;
    list.gid_ = user.gid;
  }
  if (auto found = co_await list.find_moved(supervisor); !found) co_return fail(std::move(found).error());
  co_return list;
}

// Earlier versions did not note groups: a server's was its user id, or that of the mounted folder that decided both.
void CopyList::assume_groups(const StageTarget& user) {
  if (uid_ != 0 && gid_ == 0) gid_ = uid_ == user.uid ? user.gid : uid_;
  for (Copy& copy : copies_) {
    if (copy.gid == 0) copy.gid = copy.uid == user.uid || copy.kind == Copy::Kind::kSealed ? gid_ : copy.uid;
  }
}

// A copy that was about to be renamed when mcpbox was killed, or gave up waiting, is at one of the two places. Nothing
// but the rename makes a kept name.
Task<Result<void>> CopyList::find_moved(box::Supervisor& supervisor) {
  for (Copy& copy : copies_) {
    if (copy.next.empty()) continue;
    moving_ = true;
    const bool to_kept = is_kept(copy.next);
    auto there = co_await exists(supervisor, to_kept ? copy.next : copy.path);
    if (!there) co_return fail(std::move(there).error());
    if (*there != to_kept) continue;
    copy.path = copy.next;
    copy.next.clear();
  }
  co_return Result<void>{};
}

// PID 1 may not have come to a rename yet that somebody asked for and did not wait for. Asked for again it is made
// once, by whichever request comes first. The list on disk must not speak of a place that something else is put at
// later.
Task<Result<void>> CopyList::finish_moves(box::Supervisor& supervisor) {
  if (!std::exchange(moving_, false)) co_return Result<void>{};
  for (;;) {
    const auto moving = std::ranges::find_if(copies_, [](const Copy& copy) { return !copy.next.empty(); });
    if (moving == copies_.end()) break;
    std::string from = moving->path;
    std::string to = moving->next;
    uid_t owner = moving->uid;
    while (base_name(from) == base_name(to)) {  // it was root's directory with several copies in it
      from = parent_of(from);
      to = parent_of(to);
      owner = 0;
    }
    auto moved = co_await supervisor.publish(from, to, owner);
    if (!moved && !surely_not_renamed(moved.error()))
      co_return fail(std::move(moved).error().with_context("finishing the move of " + printable(from)));
    bool there = moved.has_value();
    const bool absent = !moved && moved.error().code() == Code::kNotFound;
    if (absent) {
      auto arrived = co_await exists(supervisor, to);
      if (!arrived) co_return fail(std::move(arrived).error());
      there = *arrived;
    }
    std::erase_if(copies_, [&](Copy& copy) {
      if (copy.next.empty() || (copy.path != from && !copy.path.starts_with(from + "/"))) return false;
      if (there) copy.path = copy.next;
      copy.next.clear();
      return absent && !there;
    });
  }
  co_return co_await save(supervisor);
}

// Until there were lists, a note beside the copy named its generation, and the manifest on the host its folder.
Task<Result<void>> CopyList::convert(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                     const std::vector<workspace::Root>& roots, const StageTarget& user) {
  const std::string workspace = place_.tree + "/workspace";
  uid_ = place_.server_before;
  bool noted_workspace = false;
  std::vector<std::string> notes;
  for (const std::string& name : names_) {
    if (!name.starts_with(kOldNote)) continue;
    const std::string hash = name.substr(kOldNote.size());
    notes.push_back(name);
    noted_workspace |= hash == short_hash(workspace);
    auto note = co_await supervisor.read_file(fmt::format("{}/{}", place_.tree, name), 256);
    if (!note) continue;
    const std::size_t space = note->find(' ');
    if (space == std::string::npos) continue;
    Copy copy;
    const std::string kind = note->substr(0, space);
    copy.kind = kind == "rw" ? Copy::Kind::kOwn : kind == "ro" ? Copy::Kind::kSealed : Copy::Kind::kOpen;
    copy.generation = note->substr(space + 1);
    copy.uid = copy.kind == Copy::Kind::kSealed ? place_.code_before : place_.server_before;
    if (!place_.manifest_dir.empty()) {
      auto look = [place = place_, hash, generation = copy.generation, own = copy.kind == Copy::Kind::kOwn] {
        const std::string old = fmt::format("{}/{}-{}", place.manifest_dir, place.process_id, hash);
        auto manifest = workspace::load_manifest(old);
        std::optional<std::pair<std::string, std::string>> found;
        if (manifest && manifest->generation == generation) {
          found.emplace(manifest->host, manifest->mount);
          (void)::rename(old.c_str(), manifest_path(place, manifest->host, own).c_str());
        }
        return found;
      };
      if (auto found = co_await net::offload(pool, std::move(look))) std::tie(copy.host, copy.path) = std::move(*found);
    }
    for (const workspace::Root& root : roots) {
      if (copy.path.empty() && short_hash(root.mount) == hash) copy.path = root.mount, copy.host = root.host;
    }
    if (copy.path.empty()) continue;
    several_ |= copy.path.starts_with(workspace + "/");
    copies_.push_back(std::move(copy));
  }
  if (!several_ && !noted_workspace && std::ranges::find(names_, "workspace") != names_.end())
    copies_.push_back({Copy::Kind::kOwn, "", workspace, "", "", place_.server_before, 0});
  assume_groups(user);
  if (auto saved = co_await save(supervisor); !saved) co_return saved;
  for (const std::string& name : notes)
    (void)co_await supervisor.remove_tree(fmt::format("{}/{}", place_.tree, name), uid_);
  co_return Result<void>{};
}

const Copy* CopyList::at(const std::string& path) const {
  const auto found = std::ranges::find(copies_, path, &Copy::path);
  return found != copies_.end() ? &*found : nullptr;
}

bool CopyList::mentions(const std::string& path) const {
  const auto there = [&](const std::string& at) { return at == path || at.starts_with(path + "/"); };
  return std::ranges::any_of(copies_, [&](const Copy& copy) { return there(copy.path) || there(copy.next); });
}

const Copy* CopyList::own_of(const std::string& host) const {
  const Copy* best = nullptr;
  for (const Copy& copy : copies_) {
    if (copy.kind == Copy::Kind::kOwn && copy.host == host && (best == nullptr || is_kept(best->path))) best = &copy;
  }
  return best;
}

std::vector<Copy> CopyList::kept() const {
  std::vector<Copy> kept;
  for (const Copy& copy : copies_) {
    if (is_kept(copy.path) && !copy.host.empty()) kept.push_back(copy);
  }
  return kept;
}

Result<void> CopyList::put(Copy copy) {
  std::erase_if(copies_, [&](const Copy& other) { return other.path == copy.path; });
  copies_.push_back(std::move(copy));
  return note();
}

Task<Result<void>> CopyList::drop(box::Supervisor& supervisor, const std::string& path) {
  if (std::erase_if(copies_, [&](const Copy& copy) { return copy.path == path; }) == 0) co_return Result<void>{};
  co_return co_await save(supervisor);
}

}  // namespace mcpbox::provision
