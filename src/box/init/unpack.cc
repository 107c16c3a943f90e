#include "box/init/unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/errno_error.h"
#include "box/init/landlock.h"
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

// Reads until the end entry; the sender may leave the descriptor open or non-blocking.
Op<std::string> read_stream(int stream, int directory) {
  ::umask(0077);
  if (int error = apply_landlock_to_directory(directory)) return failed("confine the unpacker", error);
  if (int error = install_seccomp_filter(build_seccomp_filter(false))) return failed("confine the unpacker", error);
  TreeWriter writer(directory);
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

}  // namespace

int TreeWriter::parent_of(std::string_view path, std::string& name) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) {
    name = path;
    return directory_;
  }
  name = path.substr(slash + 1);
  const std::string_view parent = path.substr(0, slash);
  if (!cached_ || parent != cached_path_) {
    cached_path_ = parent;
    cached_ = open_beneath(directory_, cached_path_, O_PATH | O_DIRECTORY);
  }
  return cached_.get();
}

Result<void> TreeWriter::directory(std::string_view path) {
  std::string name;
  const int parent = parent_of(path, name);
  if (parent < 0 || ::mkdirat(parent, name.c_str(), 0700) != 0) return trouble("make directory", path);
  return {};
}

Result<void> TreeWriter::file(std::string_view path, std::uint64_t, bool executable) {
  std::string name;
  const int parent = parent_of(path, name);
  if (parent < 0) return trouble("make file", path);
  file_.reset(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file_) return trouble("make file", path);
  file_path_ = path;
  offset_ = 0;
  executable_ = executable;
  return {};
}

Result<void> TreeWriter::data(std::string_view bytes) {
  // Long runs of zeros become holes: a sparse file stays one.
  if (bytes.size() >= 4096 && all_zero(bytes)) {
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
  if (::ftruncate(file_.get(), static_cast<off_t>(offset_)) != 0) return trouble("set the size of", file_path_);
  if (executable_ && ::fchmod(file_.get(), 0700) != 0) return trouble("set the mode of", file_path_);
  file_.reset();
  return {};
}

Result<void> TreeWriter::link(std::string_view path, std::string_view target) {
  std::string name;
  const int parent = parent_of(path, name);
  if (parent < 0 || ::symlinkat(std::string(target).c_str(), parent, name.c_str()) != 0)
    return trouble("make link", path);
  return {};
}

Op<std::string> unpack(const Roots& roots, const wire::Unpack& request, int stream, Clock::time_point deadline) {
  const std::string step = "unpack into '" + request.path + "'";
  if (request.uid == 0 || request.gid == 0) return refuse(Code::kInvalidArgument, step, "uid and gid must not be 0");
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
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
    auto names = names_in(readable.get(), 1);
    if (!names || !names->empty()) return refuse(Code::kFailedPrecondition, "unpack", "the directory is not empty");
    return read_stream(stream, readable.get());
  });
  if (unpacked) return unpacked;
  unpacked.error().step = step + ": " + unpacked.error().step;
  // A minute of its own: a failed unpack must not fail to clean up because its time was over.
  const auto grace = Clock::now() + std::chrono::minutes(1);
  if (!request.into_existing) {
    (void)remove_entry(entry.parent.get(), entry.name, request.uid, grace);
  } else if (unpacked.error().text != "the directory is not empty") {
    (void)run_as(request.uid, request.gid, grace, [&]() -> Op<std::string> {
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
