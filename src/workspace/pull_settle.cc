// Part of pull.h: compares what was received with the host, and writes it.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/errno_error.h"
#include "base/text.h"
#include "sys/path_guard.h"
#include "sys/small_file.h"
#include "workspace/pull.h"

namespace mcpbox::workspace {
namespace {

constexpr sys::BeneathOptions kOneMount{.cross_mounts = false};

// What the host has at a path.
struct HostSide {
  enum class Kind { kMissing, kFile, kOther };
  Kind kind = Kind::kMissing;
  std::string why;  // kOther
  std::string digest;
  FileStamp stamp;
  uid_t uid = 0;
  gid_t gid = 0;
};

Result<std::string> digest_of(int fd) {
  Sha256 content;
  std::vector<char> buffer(256 * 1024);
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read"));
    if (got == 0) return content.hex();
    content.update({buffer.data(), static_cast<std::size_t>(got)});
  }
}

Result<HostSide> host_side(int root, const std::string& path) {
  HostSide side;
  auto file = sys::open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, kOneMount);
  if (!file) {
    if (file.error() == ENOENT) return side;
    side.kind = HostSide::Kind::kOther;
    side.why = file.error() == ELOOP     ? "there is a link in the way"
               : file.error() == ENOTDIR ? "a file is in the place of a folder"
               : file.error() == EXDEV   ? "another file system is mounted there"
                                         : "the file there cannot be read";
    return side;
  }
  struct stat status{};
  if (::fstat(file->get(), &status) != 0) return fail(errno_error(errno, "stat '" + printable(path) + "'"));
  if (!S_ISREG(status.st_mode)) {
    side.kind = HostSide::Kind::kOther;
    side.why = "what is there is no file";
    return side;
  }
  side.kind = HostSide::Kind::kFile;
  side.stamp = stamp_of(status);
  side.uid = status.st_uid;
  side.gid = status.st_gid;
  auto digest = digest_of(file->get());
  if (!digest) return fail(digest.error().with_context("'" + printable(path) + "'"));
  side.digest = std::move(*digest);
  return side;
}

// One thing to do: `item` says it, `file` is what comes (nullptr for a deletion).
struct Step {
  std::size_t item = 0;
  const PullReceiver::Received* file = nullptr;
  HostSide host;
  bool backup = false;
};

class Writer {
 public:
  Writer(int root, const DeniedPlaces& denied) : root_(root), denied_(denied) {
    struct stat status{};
    if (::fstat(root, &status) == 0) {
      uid_ = status.st_uid;
      gid_ = status.st_gid;
    }
  }
  Result<void> write(const Step& step, PullItem& item);
  Result<void> remove(const Step& step, PullItem& item);

 private:
  Result<UniqueFd> parent_of(const std::string& path, bool make);
  Result<void> keep_backup(int parent, const std::string& name, PullItem& item);
  Result<void> still_as_compared(int parent, const std::string& name, const Step& step);
  Result<void> fill(const PullReceiver::Received& file, int out);

  int root_;
  const DeniedPlaces& denied_;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
};

std::string last_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Component by component, each without links and in the same mount; what is missing is made as the folder's owner has
// it.
Result<UniqueFd> Writer::parent_of(const std::string& path, bool make) {
  UniqueFd here(::fcntl(root_, F_DUPFD_CLOEXEC, 3));
  if (!here) return fail(errno_error(errno, "open the folder"));
  for (std::size_t begin = 0, end = 0; (end = path.find('/', begin)) != std::string::npos; begin = end + 1) {
    const std::string name = path.substr(begin, end - begin);
    auto next = sys::open_beneath(here.get(), name, O_PATH | O_DIRECTORY, kOneMount);
    if (!next && next.error() == ENOENT && make) {
      if (::mkdirat(here.get(), name.c_str(), 0755) != 0 && errno != EEXIST)
        return fail(errno_error(errno, "make folder '" + printable(path) + "'"));
      next = sys::open_beneath(here.get(), name, O_PATH | O_DIRECTORY, kOneMount);
      if (next && ::geteuid() == 0) (void)::fchownat(next->get(), "", uid_, gid_, AT_EMPTY_PATH);
    }
    if (!next) return fail(errno_error(next.error(), "open the folder of '" + printable(path) + "'"));
    struct stat status{};
    if (::fstat(next->get(), &status) != 0 || denied_.is_denied(sys::id_of(status)))
      return fail(Code::kPermissionDenied,
                  "'" + printable(path) + "' lies in a place that is never given to a sandbox");
    here = std::move(*next);
  }
  return here;
}

Result<void> Writer::still_as_compared(int parent, const std::string& name, const Step& step) {
  struct stat status{};
  const bool there = ::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && errno == ENOENT && step.host.kind == HostSide::Kind::kMissing) return {};
  if (there && step.host.kind == HostSide::Kind::kFile && stamp_of(status) == step.host.stamp) return {};
  return fail(Code::kAborted, "'" + printable(name) + "' changed on this host just now; pull again");
}

Result<void> Writer::keep_backup(int parent, const std::string& name, PullItem& item) {
  for (unsigned number = 1; number <= 1000; ++number) {
    const std::string backup = fmt::format("{}.before-pull-{}", name, number);
    if (::linkat(parent, name.c_str(), parent, backup.c_str(), 0) == 0) {
      item.note = (item.note.empty() ? "" : item.note + "; ") + "what was there is now " + backup;
      return {};
    }
    if (errno != EEXIST)
      return fail(errno_error(errno, "keep '" + printable(name) + "' as '" + printable(backup) + "'"));
  }
  return fail(Code::kResourceExhausted, "there are 1000 backups of '" + printable(name) + "'; remove some");
}

Result<void> Writer::fill(const PullReceiver::Received& file, int out) {
  UniqueFd in(::open(file.spooled.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!in) return fail(errno_error(errno, "open '" + file.spooled + "'"));
  std::vector<char> buffer(256 * 1024);
  for (;;) {
    const ssize_t got = ::read(in.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read '" + file.spooled + "'"));
    if (got == 0) return {};
    auto written = sys::write_all(out, {buffer.data(), static_cast<std::size_t>(got)});
    if (!written) return fail(std::move(written).error().with_context("'" + printable(file.path) + "'"));
  }
}

Result<void> Writer::write(const Step& step, PullItem& item) {
  auto parent = parent_of(step.file->path, true);
  if (!parent) return fail(parent.error());
  const std::string name = last_name(step.file->path);
  const std::string fresh = ".mcpbox-pull-" + random_hex(8);
  UniqueFd directory(::openat(parent->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  UniqueFd out(::openat(parent->get(), fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out) return fail(errno_error(errno, "write '" + printable(step.file->path) + "'"));
  const bool replaces = step.host.kind == HostSide::Kind::kFile;
  const auto finish = [&]() -> Result<void> {
    if (auto filled = fill(*step.file, out.get()); !filled) return filled;
    // Owner before mode: a change of owner takes bits away. Never more than 0755, so no set-user-id.
    if (::geteuid() == 0) {
      if (::fchown(out.get(), replaces ? step.host.uid : uid_, replaces ? step.host.gid : gid_) != 0)
        return fail(errno_error(errno, "give '" + printable(step.file->path) + "' its owner"));
    }
    const mode_t wanted =
        replaces ? (step.host.stamp.mode & 0666) | (step.file->executable ? 0111 & (step.host.stamp.mode >> 2) : 0)
        : step.file->executable ? 0755
                                : 0644;
    if (::fchmod(out.get(), wanted & 0755) != 0)
      return fail(errno_error(errno, "set the mode of '" + printable(step.file->path) + "'"));
    // Before it gets its name: what the disk had no room for must not replace what is there.
    if (auto closed = sys::close_written(std::move(out)); !closed)
      return fail(std::move(closed).error().with_context("'" + printable(step.file->path) + "'"));
    if (auto same = still_as_compared(parent->get(), name, step); !same) return same;
    if (step.backup && replaces) {
      if (auto kept = keep_backup(parent->get(), name, item); !kept) return kept;
    }
    const unsigned flags = replaces ? 0 : RENAME_NOREPLACE;
    if (::renameat2(parent->get(), fresh.c_str(), parent->get(), name.c_str(), flags) != 0)
      return fail(errno_error(errno, "put '" + printable(step.file->path) + "' in place"));
    return {};
  };
  auto finished = finish();
  if (!finished) ::unlinkat(parent->get(), fresh.c_str(), 0);
  return finished;
}

Result<void> Writer::remove(const Step& step, PullItem& item) {
  auto parent = parent_of(item.path, false);
  if (!parent) return fail(parent.error());
  const std::string name = last_name(item.path);
  if (auto same = still_as_compared(parent->get(), name, step); !same) return same;
  if (step.backup) {
    if (auto kept = keep_backup(parent->get(), name, item); !kept) return kept;
  }
  if (::unlinkat(parent->get(), name.c_str(), 0) != 0)
    return fail(errno_error(errno, "delete '" + printable(item.path) + "'"));
  return {};
}

}  // namespace

std::string_view name_of(PullAction action) {
  switch (action) {
    case PullAction::kAdded:
      return "added";
    case PullAction::kChanged:
      return "changed";
    case PullAction::kDeleted:
      return "deleted";
    case PullAction::kConflict:
      return "conflict";
    case PullAction::kRefused:
      return "refused";
  }
  return "?";
}

Result<void> settle_pull(PullReceiver& received, const StageManifest& base, int root, const PullChoice& choice,
                         PullReport& report) {
  report = {};
  report.base = base;
  std::map<std::string, std::size_t, std::less<>> place;
  for (std::size_t i = 0; i < base.entries.size(); ++i) place.emplace(base.entries[i].path, i);
  const ManifestIndex index(base);
  std::vector<Step> steps;
  bool conflicts = false;
  const auto add = [&](PullAction action, const std::string& path, std::string note, std::uint64_t size) {
    report.items.push_back({action, path, std::move(note), size});
    conflicts = conflicts || action == PullAction::kConflict;
    return report.items.size() - 1;
  };

  for (const PullReceiver::Received& file : received.changed()) {
    auto host = host_side(root, file.path);
    if (!host) return fail(host.error());
    const StageManifest::Entry* staged = index.find(file.path);
    const bool was_file = staged != nullptr && staged->kind == StageManifest::Kind::kFile;
    if (host->kind == HostSide::Kind::kOther) {
      add(PullAction::kRefused, file.path, host->why, file.size);
      ++report.refused_total;
    } else if (host->kind == HostSide::Kind::kMissing) {
      const std::size_t item =
          was_file ? add(PullAction::kConflict, file.path, "deleted on this host since it was staged", file.size)
                   : add(PullAction::kAdded, file.path, "", file.size);
      steps.push_back({item, &file, std::move(*host), false});
    } else if (host->digest != file.digest) {
      const bool untouched = was_file && host->digest == staged->detail;
      const char* why = was_file ? "changed on this host since it was staged" : "another file is there";
      const std::size_t item =
          add(untouched ? PullAction::kChanged : PullAction::kConflict, file.path, untouched ? "" : why, file.size);
      steps.push_back({item, &file, std::move(*host), !untouched});
    } else if (was_file) {
      report.base.entries[place.find(file.path)->second].detail = file.digest;  // both sides made the same change
    }
  }
  for (const std::string& path : received.missing()) {
    auto host = host_side(root, path);
    if (!host) return fail(host.error());
    if (host->kind != HostSide::Kind::kFile) continue;
    const bool untouched = host->digest == index.find(path)->detail;
    if (!untouched && !choice.delete_missing) continue;  // nothing would happen to it
    const std::size_t item = add(untouched ? PullAction::kDeleted : PullAction::kConflict, path,
                                 untouched ? (choice.delete_missing ? "" : "kept here; --delete deletes it")
                                           : "deleted by the server, changed on this host since it was staged",
                                 0);
    if (choice.delete_missing) steps.push_back({item, nullptr, std::move(*host), !untouched});
  }
  for (const PullReceiver::Refused& refused : received.refused())
    add(PullAction::kRefused, refused.path, refused.reason, 0);
  report.refused_total += received.refused_total();
  if (choice.dry_run || (conflicts && !choice.force)) return {};

  Writer writer(root, received.rules().denied());
  report.applied = true;
  Result<void> outcome;
  for (const Step& step : steps) {
    PullItem& item = report.items[step.item];
    auto done = step.file != nullptr ? writer.write(step, item) : writer.remove(step, item);
    if (!done) {
      outcome = fail(std::move(done).error().with_context("what comes before it is done, the rest is not; pull again"));
      break;
    }
    const auto at = place.find(item.path);
    if (step.file == nullptr) {
      report.base.entries[at->second].path.clear();
    } else if (at != place.end()) {
      StageManifest::Entry& entry = report.base.entries[at->second];
      entry.kind = StageManifest::Kind::kFile;
      entry.detail = step.file->digest;
    } else {
      report.base.entries.push_back({StageManifest::Kind::kFile, item.path, {}, step.file->digest});
    }
  }
  std::erase_if(report.base.entries, [](const StageManifest::Entry& entry) { return entry.path.empty(); });
  return outcome;
}

}  // namespace mcpbox::workspace
