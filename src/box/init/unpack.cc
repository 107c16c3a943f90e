#include "box/init/unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/errno_error.h"
#include "box/init/landlock.h"
#include "box/init/one_id.h"
#include "box/init/seccomp_filter.h"
#include "box/init/tree_make.h"
#include "box/init/tree_remove.h"

namespace mcpbox::box::init {
namespace {

std::unexpected<Error> trouble(const char* what, std::string_view path) {
  // No strerror(3): it would bring the whole of gettext into the static program. The number tells.
  return fail(code_of_errno(errno),
              std::string(what) + " '" + std::string(path) + "' (errno " + std::to_string(errno) + ")");
}

constexpr std::size_t kChunk = 256 * 1024;

bool all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

constexpr unsigned kMaxDepth = 64;

bool is_mount(int parent, const std::string& name) {
  struct statx info{};
  return ::statx(parent, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &info) == 0 &&
         (info.stx_attributes_mask & info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// What is in a directory: nothing; mounts, and the directories that lead to them; anything else.
enum class Content : std::uint8_t { kNothing, kMounts, kOther };
Content content_of(int directory, unsigned depth = 0) {
  auto names = names_in(directory, 1000);
  if (!names || depth > kMaxDepth) return Content::kOther;
  for (const std::string& name : *names) {
    if (is_mount(directory, name)) continue;
    UniqueFd inner(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner || content_of(inner.get(), depth + 1) != Content::kMounts) return Content::kOther;
  }
  return names->empty() ? Content::kNothing : Content::kMounts;
}

// Also when it cannot be said.
bool has_mount(int directory, unsigned depth = 0) {
  auto names = names_in(directory, static_cast<std::size_t>(-1));
  if (!names || depth > kMaxDepth) return true;
  return std::ranges::any_of(*names, [&](const std::string& name) {
    if (is_mount(directory, name)) return true;
    UniqueFd inner(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return inner ? has_mount(inner.get(), depth + 1) : errno != ENOTDIR && errno != ELOOP;
  });
}

// Reads until the end entry; the sender may leave the descriptor open or non-blocking.
Op<std::string> read_stream(int stream, int directory, int previous, bool group_reads, bool some_exist) {
  ::umask(0);
  if (int error = apply_landlock_to_directories({directory, previous})) return failed("confine the unpacker", error);
  if (int error = install_seccomp_filter(build_seccomp_filter())) return failed("confine the unpacker", error);
  TreeWriter writer(directory, previous, group_reads, some_exist);
  wire::StageReader reader(writer);
  std::vector<char> buffer(kChunk);
  while (!reader.done()) {
    const ssize_t got = ::read(stream, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      pollfd wait{stream, POLLIN, 0};
      ::poll(&wait, 1, -1);
      continue;
    }
    if (got < 0) return failed("read the stage stream");
    if (got == 0) return refuse(Code::kDataLoss, "unpack", "the stage stream ended in the middle");
    auto fed = reader.feed(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    if (!fed) return refuse(fed.error().code(), "unpack", fed.error().message());
  }
  wire::Encoder encoder;
  encoder(wire::UnpackReply{reader.totals().entries, reader.totals().bytes});
  return encoder.take();
}

// The generation whose files may be kept. Nobody but its owner, who is also the new one's, may have been able to write
// it: that is for the requester to know.
Op<UniqueFd> open_previous(const Roots& roots, const wire::Unpack& request) {
  const std::string step = "keep files of '" + request.previous + "'";
  auto place = roots.find(request.previous);
  if (!place) return std::unexpected(place.error());
  auto entry = open_parent(*place, false);
  if (!entry) return std::unexpected(entry.error());
  UniqueFd directory(open_beneath(entry->parent.get(), entry->name, O_PATH | O_DIRECTORY));
  struct stat info{};
  if (!directory || ::fstat(directory.get(), &info) != 0) return failed(step);
  if (info.st_uid != shown_id(request.uid))
    return refuse(Code::kFailedPrecondition, step, "it belongs to somebody else");
  return directory;
}

}  // namespace

int TreeWriter::parent_of(Parents& parents, std::string_view path, std::string& name) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) {
    name = path;
    return parents.root;
  }
  name = path.substr(slash + 1);
  const std::string_view parent = path.substr(0, slash);
  if (!parents.fd || parent != parents.path) {
    parents.path = parent;
    parents.fd = open_beneath(parents.root, parents.path, O_PATH | O_DIRECTORY);
  }
  return parents.fd.get();
}

Result<void> TreeWriter::directory(std::string_view path) {
  std::string name;
  const int parent = parent_of(parents_, path, name);
  if (parent >= 0 && ::mkdirat(parent, name.c_str(), mode(true)) == 0) return {};
  if (parent >= 0 && errno == EEXIST && some_exist_) {
    struct stat there{};
    if (::fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode) &&
        !is_mount(parent, name))
      return {};
    errno = EEXIST;
  }
  return trouble("make directory", path);
}

Result<void> TreeWriter::file(std::string_view path, std::uint64_t, bool executable) {
  std::string name;
  const int parent = parent_of(parents_, path, name);
  if (parent < 0) return trouble("make file", path);
  file_.reset(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode(executable)));
  if (!file_) return trouble("make file", path);
  file_path_ = path;
  offset_ = 0;
  ends_in_hole_ = false;
  return {};
}

Result<void> TreeWriter::data(std::string_view bytes) {
  // Long runs of zeros become holes: a sparse file stays one.
  ends_in_hole_ = bytes.size() >= 4096 && all_zero(bytes);
  if (ends_in_hole_) {
    offset_ += bytes.size();
    return {};
  }
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return trouble("write", file_path_);
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<void> TreeWriter::file_end() {
  if (ends_in_hole_ && ::ftruncate(file_.get(), static_cast<off_t>(offset_)) != 0)
    return trouble("set the size of", file_path_);
  if (const int error = file_.close()) {
    errno = error;
    return trouble("write", file_path_);
  }
  return {};
}

Result<void> TreeWriter::link(std::string_view path, std::string_view target) {
  std::string name;
  const int parent = parent_of(parents_, path, name);
  if (parent < 0 || ::symlinkat(std::string(target).c_str(), parent, name.c_str()) != 0)
    return trouble("make link", path);
  return {};
}

Result<void> TreeWriter::keep(std::string_view path, std::uint64_t size, bool executable) {
  const auto missing = [&](const char* why) {
    return fail(Code::kFailedPrecondition, "keep '" + std::string(path) + "': " + why);
  };
  if (old_parents_.root < 0) return missing("there is no previous generation");
  std::string name;
  const int parent = parent_of(parents_, path, name);
  if (parent < 0) return trouble("make file", path);
  const int old_parent = parent_of(old_parents_, path, name);
  // Without AT_SYMLINK_FOLLOW a symbolic link would itself be linked, and is then refused below.
  if (old_parent < 0 || ::linkat(old_parent, name.c_str(), parent, name.c_str(), 0) != 0)
    return missing("the previous generation cannot give it");
  struct stat info{};
  if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return trouble("inspect", path);
  if (!S_ISREG(info.st_mode) || info.st_uid != ::geteuid() || static_cast<std::uint64_t>(info.st_size) != size ||
      (info.st_mode & 07777) != mode(executable)) {
    return missing("the previous generation has something else there");
  }
  return {};
}

Op<std::string> unpack(const Roots& roots, const wire::Unpack& request, int stream, Clock::time_point deadline) {
  const std::string step = "unpack into '" + request.path + "'";
  if (request.uid == 0 || request.gid == 0) return refuse(Code::kInvalidArgument, step, "uid and gid must not be 0");
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  UniqueFd previous;
  if (!request.previous.empty()) {
    auto old = open_previous(roots, request);
    if (!old) return std::unexpected(old.error());
    previous = std::move(*old);
  }
  UniqueFd directory;
  Entry entry;
  if (request.into_existing) {
    directory = open_beneath(place->root, place->relative, O_PATH | O_DIRECTORY);
    if (!directory) return failed(step);
  } else {
    auto parent = open_parent(*place, false);
    if (!parent) return std::unexpected(parent.error());
    entry = std::move(*parent);
    struct stat there{};
    if (::fstatat(entry.parent.get(), entry.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0)
      return failed(step, EEXIST);
    auto made = make_owned_directories(entry.parent.get(), {entry.name}, request.uid, request.gid, deadline);
    if (!made) {
      made.error().step = step + ": " + made.error().step;
      return std::unexpected(made.error());
    }
    directory = open_beneath(entry.parent.get(), entry.name, O_PATH | O_DIRECTORY);
    if (!directory) return failed(step);
  }
  auto unpacked = run_as(request.uid, request.gid, deadline, [&]() -> Op<std::string> {
    UniqueFd readable(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!readable) return failed("open the directory");
    const Content content = content_of(readable.get());
    if (content == Content::kOther || (content == Content::kMounts && !request.into_existing))
      return refuse(Code::kFailedPrecondition, "unpack", "the directory is not empty");
    if (request.group_reads && !request.into_existing && ::fchmod(readable.get(), 0750) != 0)
      return failed("set the mode of the directory");
    return read_stream(stream, readable.get(), previous.get(), request.group_reads, content == Content::kMounts);
  });
  if (unpacked) return unpacked;
  unpacked.error().step = step + ": " + unpacked.error().step;
  // A minute of its own: a failed unpack must not fail to clean up because its time was over.
  const auto grace = Clock::now() + std::chrono::minutes(1);
  if (!request.into_existing) {
    (void)remove_entry(entry.parent.get(), entry.name, request.uid, grace);
  } else if (unpacked.error().text != "the directory is not empty") {
    (void)run_as(request.uid, request.gid, grace, [&]() -> Op<std::string> {
      // What is mounted in it is no part of what was unpacked. It goes with the sandbox.
      if (has_mount(directory.get())) return std::string();
      auto names = names_in(directory.get(), static_cast<std::size_t>(-1));
      if (!names) return std::unexpected(names.error());
      for (const std::string& name : *names) {
        if (::unlinkat(directory.get(), name.c_str(), 0) == 0) continue;
        UniqueFd inner(::openat(directory.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (inner) (void)empty_directory(inner.get());
        ::unlinkat(directory.get(), name.c_str(), AT_REMOVEDIR);
      }
      return std::string();
    });
  }
  return unpacked;
}

}  // namespace mcpbox::box::init
