#include "workspace/stage.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/errno_error.h"
#include "base/text.h"
#include "sys/directory.h"
#include "sys/path_guard.h"
#include "sys/small_file.h"
#include "workspace/denied.h"
#include "workspace/host_view.h"
#include "workspace/ignore.h"
#include "workspace/path_text.h"
#include "workspace/secret_names.h"

namespace mcpbox::workspace {
namespace {

constexpr std::string_view kIgnoreFile = ".mcpboxignore";
constexpr std::size_t kMaxPath = 4096;
constexpr std::uint64_t kMaxIgnoreSteps = 500'000'000;  // of all comparisons; about two seconds
constexpr std::size_t kMaxReported = 200;
constexpr std::size_t kMaxNamed = 8;
constexpr unsigned kMaxDepth = 63;  // one descriptor is open for each level; a stage path has at most 64 components

// ".." only in front, and fewer of them than the link is deep: behind a name it could climb out through another link.
bool link_stays_inside(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/' || target.size() >= kMaxPath) return false;
  std::size_t depth = static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
  std::size_t ups = 0;
  bool named = false;
  for (std::string_view part : split(target, '/')) {
    if (part == "..") {
      if (named || ++ups > depth) return false;
    } else if (!part.empty() && part != ".") {
      named = true;
    }
  }
  return true;
}

std::string_view kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return "FIFO";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "character device";
    case S_IFBLK:
      return "block device";
    default:
      return "unknown kind of file";
  }
}

class Walk {
 public:
  Walk(const std::string& host, const StageLimits& limits, WalkSink& sink, const std::atomic<bool>* stop,
       const StageRules& rules)
      : host_(host), limits_(limits), sink_(sink), stop_(stop), rules_(rules), denied_(rules.denied, rules.home) {
    for (const std::string& file : rules.secret_files) {
      struct stat status{};
      if (::stat(file.c_str(), &status) == 0) secret_files_.insert(sys::id_of(status));
    }
  }

  Result<StageReport> run(UniqueFd root);

 private:
  struct Frame {
    UniqueFd fd;
    std::string path;  // "" for the root
    std::vector<std::string> names;
    std::size_t next = 0;
    std::optional<IgnoreRules> ignore;
  };

  Result<void> enter(int path_fd, std::string path);
  Result<void> visit(Frame& frame, const std::string& name, std::string path);
  Result<void> visit_file(Frame& frame, const std::string& name, const struct stat& seen, const std::string& path);
  Result<void> not_opened(int error, const std::string& path);
  Result<void> count_file(const struct stat& status, const std::string& path, const struct stat* counted = nullptr);
  Result<void> visit_link(int path_fd, const std::string& path);
  Result<void> count(std::uint64_t apparent, std::uint64_t real);
  // `kept`: an ignore file brings it back by name.
  std::optional<std::string> ignored(int path_fd, std::string_view name, const std::string& path, bool is_directory,
                                     bool& kept);
  bool is_secret_file(const struct stat& status, const std::string& path);
  bool left_for_its_name(const std::string& name, const std::string& path, bool kept);
  void skip(const std::string& path, std::string reason) {
    ++report_.skipped_total;
    if (report_.skipped.size() < kMaxReported) report_.skipped.push_back({path, std::move(reason)});
  }
  std::string shown(const std::string& path) const { return "'" + printable(join_path(host_, path), 512) + "'"; }

  const std::string& host_;
  const StageLimits& limits_;
  WalkSink& sink_;
  const std::atomic<bool>* stop_;
  const StageRules& rules_;
  DeniedPlaces denied_;
  std::set<sys::FileId> secret_files_;
  StageReport report_;
  std::uint64_t real_bytes_ = 0;
  std::uint64_t ignore_steps_ = 0;
  std::vector<Frame> stack_;
};

Result<StageReport> Walk::run(UniqueFd root) {
  if (auto entered = enter(root.get(), ""); !entered) return fail(entered.error());
  while (!stack_.empty()) {
    if (stop_ != nullptr && stop_->load(std::memory_order_relaxed))
      return fail(Code::kCancelled, "staging of " + shown("") + " was cancelled");
    Frame& frame = stack_.back();
    if (frame.next == frame.names.size()) {
      stack_.pop_back();
      continue;
    }
    std::string name = std::move(frame.names[frame.next++]);
    std::string path = frame.path.empty() ? name : frame.path + "/" + name;
    if (path.size() >= kMaxPath) {
      skip(path, "path of more than 4096 bytes");
      continue;
    }
    if (auto visited = visit(frame, name, std::move(path)); !visited) return fail(visited.error());
  }
  return std::move(report_);
}

// `path_fd` holds the directory; what is opened is that inode, whatever its name leads to by now.
Result<void> Walk::enter(int path_fd, std::string path) {
  Frame frame;
  frame.fd = UniqueFd(::openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!frame.fd) {
    if (path.empty()) return fail(errno_error(errno, "open " + shown(path)));
    skip(path, "not readable");
    return {};
  }
  // Ignored names are read too; a directory of endless ignored names is not.
  auto names = sys::read_names(frame.fd.get(), limits_.entries * 2 + 1000);
  if (!names) return fail(names.error().with_context(shown(path)));
  frame.names = std::move(*names);
  frame.path = std::move(path);
  if (std::binary_search(frame.names.begin(), frame.names.end(), kIgnoreFile)) {
    auto held = sys::open_beneath(frame.fd.get(), std::string(kIgnoreFile), O_PATH, {.cross_mounts = false});
    struct stat status{};
    if (held && ::fstat(held->get(), &status) == 0 && S_ISREG(status.st_mode)) {
      if (auto file = sys::reopen(held->get(), O_RDONLY | O_NONBLOCK)) {
        auto text = sys::read_all(file->get(), IgnoreRules::kMaxBytes);
        if (!text) return fail(text.error().with_context(shown(join_path(frame.path, kIgnoreFile))));
        frame.ignore.emplace(*text);
      }
    }
  }
  stack_.push_back(std::move(frame));
  return {};
}

// The reason why `name` stays behind; nullopt when it goes in.
std::optional<std::string> Walk::ignored(int path_fd, std::string_view name, const std::string& path, bool is_directory,
                                         bool& kept) {
  // The nearest file decides; built-in rules only where none says anything, so "!.git/" brings a default back.
  for (std::size_t i = stack_.size(); i-- > 0;) {
    const Frame& frame = stack_[i];
    if (!frame.ignore) continue;
    std::string_view below =
        frame.path.empty() ? std::string_view(path) : std::string_view(path).substr(frame.path.size() + 1);
    if (auto decided = frame.ignore->decide(below, is_directory, ignore_steps_)) {
      if (*decided) return "ignored by " + join_path(frame.path, kIgnoreFile).substr(frame.path.empty() ? 1 : 0);
      kept = true;
      return std::nullopt;
    }
  }
  if (!rules_.defaults || !is_directory) return std::nullopt;
  if (ignored_by_default(name)) return "ignored by default (\"!" + std::string(name) + "/\" in .mcpboxignore keeps it)";
  // A package may be called "env": only what pyvenv.cfg marks is an environment, made for this host's interpreter.
  if (may_be_virtual_environment(name) && ::faccessat(path_fd, "pyvenv.cfg", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    return "virtual environment of this host";
  }
  return std::nullopt;
}

// What cannot be opened for a reason that concerns this entry alone is skipped, not an error.
Result<void> Walk::not_opened(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
      return {};  // deleted since the directory was read
    case EXDEV:
      skip(path, "another file system is mounted here");
      return {};
    case EACCES:
    case EPERM:
      skip(path, "not readable");
      return {};
    case ELOOP:
    case ENXIO:
    case ENOTDIR:
      skip(path, "became something else while it was read");
      return {};
    default:
      return fail(errno_error(error, "open " + shown(path)));
  }
}

bool Walk::is_secret_file(const struct stat& status, const std::string& path) {
  if (!secret_files_.contains(sys::id_of(status))) return false;
  skip(path, "the configuration, or a file that it reads a secret from");
  return true;
}

bool Walk::left_for_its_name(const std::string& name, const std::string& path, bool kept) {
  const auto note = [&](StageReport::Named& named) {
    if (++named.total <= kMaxNamed) named.first.push_back(path);
  };
  if (!rules_.defaults) return false;
  if (name == ".env") note(report_.environments);
  if (kept || !is_secret_name(name)) return false;
  note(report_.secrets);
  return true;
}

Result<void> Walk::visit(Frame& frame, const std::string& name, std::string path) {
  struct stat status{};
  if (::fstatat(frame.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return not_opened(errno, path);
  UniqueFd held;
  if (S_ISDIR(status.st_mode) || S_ISLNK(status.st_mode)) {
    auto opened = sys::open_beneath(frame.fd.get(), name, O_PATH, {.cross_mounts = false});
    if (!opened) return not_opened(opened.error(), path);
    held = std::move(*opened);
    // From here on it is this inode, whatever the name leads to.
    if (::fstat(held.get(), &status) != 0) return fail(errno_error(errno, "stat " + shown(path)));
  }
  bool is_directory = S_ISDIR(status.st_mode);
  if (std::ranges::find(rules_.covered, path) != rules_.covered.end()) {
    skip(path, "a folder that is mounted there covers it");
    return {};
  }
  bool kept = false;
  auto reason = ignored(held.get(), name, path, is_directory, kept);
  if (ignore_steps_ > kMaxIgnoreSteps) {
    return fail(
        Code::kResourceExhausted,
        fmt::format("the patterns of .mcpboxignore in {} take too long to be compared with all names (as far as "
                    "{}): write fewer, or some with fewer '*'",
                    shown(""), shown(path)));
  }
  if (reason) {
    skip(path, std::move(*reason));
    return {};
  }
  if (is_credential_name(path)) {
    skip(path, "credentials");
    return {};
  }
  if (denied_.is_denied(sys::id_of(status))) {
    skip(path, "a place that is never given to a sandbox");
    return {};
  }
  if (S_ISREG(status.st_mode)) {
    if (is_secret_file(status, path) || left_for_its_name(name, path, kept)) return {};
    return visit_file(frame, name, status, path);
  }
  if (S_ISLNK(status.st_mode)) return visit_link(held.get(), path);
  if (!is_directory) {
    skip(path, std::string(kind_of(status.st_mode)));
    return {};
  }
  if (stack_.size() > std::min(limits_.depth, kMaxDepth)) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} is nested more than {} folders deep; leave it out with .mcpboxignore or raise the "
                            "limit",
                            shown(path), std::min(limits_.depth, kMaxDepth)));
  }
  if (auto counted = count(0, 0); !counted) return counted;
  if (auto taken = sink_.directory(path); !taken) return taken;
  return enter(held.get(), std::move(path));
}

Result<void> Walk::visit_link(int path_fd, const std::string& path) {
  char target[kMaxPath + 1];
  ssize_t length = ::readlinkat(path_fd, "", target, sizeof target);
  if (length < 0) return fail(errno_error(errno, "read link " + shown(path)));
  std::string_view text(target, static_cast<std::size_t>(length));
  if (!link_stays_inside(path, text)) {
    skip(path, "link that leaves the folder");
    return {};
  }
  if (auto counted = count(0, 0); !counted) return counted;
  return sink_.symlink(path, text);
}

Result<void> Walk::visit_file(Frame& frame, const std::string& name, const struct stat& seen, const std::string& path) {
  if (auto fits = count_file(seen, path); !fits) return fits;
  if (sink_.unchanged(path, stamp_of(seen))) return {};
  for (int attempt = 0;; ++attempt) {
    // It was a regular file a moment ago. Should it be a FIFO by now, opening it like this neither waits nor reads.
    auto file = sys::open_beneath(frame.fd.get(), name, O_RDONLY | O_NONBLOCK | O_NOCTTY, {.cross_mounts = false});
    if (!file) return not_opened(file.error(), path);
    struct stat before{};
    if (::fstat(file->get(), &before) != 0) return fail(errno_error(errno, "stat " + shown(path)));
    if (!S_ISREG(before.st_mode) || denied_.is_denied(sys::id_of(before))) {
      skip(path, "became something else while it was read");
      return {};
    }
    if (is_secret_file(before, path)) return {};
    // Counted as it was seen; what it has become since must fit too.
    if (before.st_size > seen.st_size) {
      if (auto fits = count_file(before, path, &seen); !fits) return fits;
    }
    auto taken =
        sink_.file(path, static_cast<std::uint64_t>(before.st_size), (before.st_mode & 0111) != 0, file->get());
    if (!taken && taken.error().code() != Code::kAborted) return taken;
    struct stat after{};
    if (::fstat(file->get(), &after) != 0) return fail(errno_error(errno, "stat " + shown(path)));
    if (taken && stamp_of(before) == stamp_of(after)) return {};
    if (attempt > 0 || !sink_.replaces_files()) {
      return fail(Code::kAborted,
                  shown(path) +
                      " changed while it was read; start over when it is at rest, or leave it out with .mcpboxignore");
    }
  }
}

// `counted`: the same file as it was counted before; only what it has grown by is added.
Result<void> Walk::count_file(const struct stat& status, const std::string& path, const struct stat* counted) {
  auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limits_.file_bytes) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} has {}, more than the {} that one file may have; leave it out with .mcpboxignore, or "
                            "mount the folder instead of copying it",
                            shown(path), human_bytes(size), human_bytes(limits_.file_bytes)));
  }
  auto real = static_cast<std::uint64_t>(status.st_blocks) * 512;
  if (counted == nullptr) return count(size, real);
  --report_.entries;
  report_.bytes -= static_cast<std::uint64_t>(counted->st_size);
  real_bytes_ -= static_cast<std::uint64_t>(counted->st_blocks) * 512;
  return count(size, real);
}

Result<void> Walk::count(std::uint64_t apparent, std::uint64_t real) {
  ++report_.entries;
  report_.bytes += apparent;
  real_bytes_ += real;
  if (report_.entries > limits_.entries) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} has more than {} files and folders; leave some out with .mcpboxignore or raise the "
                            "limit",
                            shown(""), limits_.entries));
  }
  // A sparse file counts with its apparent size, a file of few bytes with what its blocks take.
  if (std::uint64_t counted = std::max(report_.bytes, real_bytes_); counted > limits_.bytes) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} has more than {} ({} counted so far); leave some out with .mcpboxignore or raise the "
                            "limit",
                            shown(""), human_bytes(limits_.bytes), human_bytes(counted)));
  }
  return {};
}

// The folder, opened from the allowed root that it lies beneath, without a link on the way.
Result<UniqueFd> open_root(const std::string& host, const std::vector<std::string>& allowed_roots) {
  std::optional<Error> trouble;
  for (const std::string& allowed : allowed_roots) {
    // The operator's own words, so links in them are followed; none in what lies beneath.
    std::string base = canonical(allowed).value_or(normalise(allowed));
    if (!is_beneath(host, base)) continue;
    auto root = sys::open_directory(base);
    if (!root) {
      trouble = root.error();
      continue;
    }
    if (host == base) return root;
    auto opened = sys::open_beneath(root->get(), relative_to(host, base), O_PATH);
    struct stat status{};
    if (opened && ::fstat(opened->get(), &status) != 0) opened = std::unexpected(errno);
    if (opened && S_ISDIR(status.st_mode)) return std::move(*opened);
    int reason = !opened ? opened.error() : S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
    trouble = errno_error(reason, "open '" + printable(host, 512) + "'");
  }
  // By another name: one of the folder's parents is an allowed root through a bind mount.
  auto opened = sys::open_directory(host);
  if (!opened) return fail(trouble.value_or(opened.error()));
  for (std::string at = host;; at = parent_of(at)) {
    struct stat here{};
    if (auto fd = sys::open_directory(at); fd && ::fstat(fd->get(), &here) == 0) {
      for (const std::string& allowed : allowed_roots) {
        struct stat there{};
        if (::stat(allowed.c_str(), &there) == 0 && sys::id_of(here) == sys::id_of(there)) return opened;
      }
    }
    if (at == "/") break;
  }
  if (trouble) return fail(std::move(*trouble));
  return fail(Code::kPermissionDenied,
              "'" + printable(host, 512) + "' lies in none of the allowed folders; add it to workspace.allowed_roots");
}

}  // namespace

FileStamp stamp_of(const struct stat& status) {
  const auto ns = [](const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; };
  return {status.st_dev,      status.st_ino,      static_cast<std::uint64_t>(status.st_size),
          ns(status.st_mtim), ns(status.st_ctim), status.st_mode};
}

Result<UniqueFd> open_stage_root(const std::string& host, const std::vector<std::string>& allowed_roots,
                                 const StageRules& rules) {
  if (!host.starts_with('/') || host.find('\0') != std::string::npos) {
    return fail(Code::kInvalidArgument, "'" + printable(host, 512) + "' is not an absolute path");
  }
  std::string clean = normalise(host);
  auto root = open_root(clean, allowed_roots);
  if (!root) return root;
  const DeniedPlaces denied(rules.denied, rules.home);
  if (std::string why = denied.refuse_root(clean); !why.empty()) {
    return fail(Code::kPermissionDenied, "'" + printable(clean, 512) + "': " + why);
  }
  struct stat status{};
  if (::fstat(root->get(), &status) != 0) return fail(errno_error(errno, "stat " + clean));
  // Asked of the open folder too, because the name may lead elsewhere since it was judged.
  if (denied.is_denied(sys::id_of(status)))
    return fail(Code::kPermissionDenied, "'" + printable(clean, 512) + "' was exchanged for a denied place");
  return root;
}

Result<StageReport> walk(const std::string& host, const std::vector<std::string>& allowed_roots,
                         const StageLimits& limits, WalkSink& sink, const std::atomic<bool>* stop,
                         const StageRules& rules) {
  auto root = open_stage_root(host, allowed_roots, rules);
  if (!root) return fail(root.error());
  std::string clean = normalise(host);
  return Walk(clean, limits, sink, stop, rules).run(std::move(*root));
}

}  // namespace mcpbox::workspace
