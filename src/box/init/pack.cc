#include "box/init/pack.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "box/init/landlock.h"
#include "box/init/one_id.h"
#include "box/init/seccomp_filter.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kPiece = 256 * 1024;

// One directory that is being walked.
struct OpenFolder {
  UniqueFd fd;
  std::string path;  // "" for the top
  std::vector<std::string> names;
};

class Packer {
 public:
  Packer(const wire::Pack& request, int out) : request_(request), out_(out) { buffer_.reserve(2 * kPiece); }
  Op<std::string> run(UniqueFd top);

 private:
  Op<void> enter(UniqueFd fd, std::string path);
  Op<void> visit(int parent, const std::string& name, std::string path);
  Op<void> file(int parent, const std::string& name, const std::string& path);
  Op<void> put(std::string_view bytes);
  Op<void> flush();
  Op<void> count(std::uint64_t bytes);

  const wire::Pack& request_;
  int out_;
  std::string buffer_;
  wire::StageTotals totals_;
  std::uint64_t skipped_ = 0;
  std::vector<OpenFolder> open_;
};

Op<void> Packer::flush() {
  for (std::string_view rest = buffer_; !rest.empty();) {
    const ssize_t written = ::write(out_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write the stream");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
  return {};
}

Op<void> Packer::put(std::string_view bytes) {
  buffer_ += bytes;
  return buffer_.size() >= kPiece ? flush() : Op<void>();
}

Op<void> Packer::count(std::uint64_t bytes) {
  if (++totals_.entries > request_.entries)
    return refuse(Code::kResourceExhausted, "pack",
                  "more than " + std::to_string(request_.entries) + " files and folders");
  totals_.bytes += bytes;
  if (totals_.bytes > request_.bytes)
    return refuse(Code::kResourceExhausted, "pack", "more than " + std::to_string(request_.bytes) + " bytes");
  return {};
}

Op<void> Packer::enter(UniqueFd fd, std::string path) {
  auto names = names_in(fd.get(), static_cast<std::size_t>(request_.entries * 2 + 1000));
  if (!names) return refuse(Code::kResourceExhausted, "pack", "a folder has too many names");
  std::sort(names->begin(), names->end(), std::greater<>());  // taken from the back
  open_.push_back({std::move(fd), std::move(path), std::move(*names)});
  return {};
}

// The server may be changing the tree meanwhile: one component at a time, never through a link.
Op<void> Packer::visit(int parent, const std::string& name, std::string path) {
  struct stat info{};
  if (!wire::is_stage_path(path) || ::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    ++skipped_;
    return {};
  }
  if (S_ISREG(info.st_mode)) return file(parent, name, path);
  if (S_ISLNK(info.st_mode)) {
    char target[wire::kMaxStagePath];
    const ssize_t length = ::readlinkat(parent, name.c_str(), target, sizeof target);
    const std::string_view text(target, length > 0 ? static_cast<std::size_t>(length) : 0);
    if (!wire::is_stage_link(path, text)) {
      ++skipped_;
      return {};
    }
    if (auto counted = count(0); !counted) return counted;
    return put(wire::stage_link(path, text));
  }
  const bool wanted =
      S_ISDIR(info.st_mode) && std::find(request_.skip.begin(), request_.skip.end(), name) == request_.skip.end();
  UniqueFd fd(wanted ? ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1);
  if (!fd) {
    ++skipped_;
    return {};
  }
  if (auto counted = count(0); !counted) return counted;
  if (auto written = put(wire::stage_directory(path)); !written) return written;
  return enter(std::move(fd), std::move(path));
}

Op<void> Packer::file(int parent, const std::string& name, const std::string& path) {
  UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    ++skipped_;
    return {};
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > request_.file_bytes)
    return refuse(Code::kResourceExhausted, "pack '" + path + "'",
                  "it has more than " + std::to_string(request_.file_bytes) + " bytes");
  if (auto counted = count(size); !counted) return counted;
  if (auto written = put(wire::stage_file(path, size, (info.st_mode & 0111) != 0)); !written) return written;
  for (std::uint64_t left = size; left > 0;) {
    const std::size_t had = buffer_.size();
    const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(left, kPiece));
    buffer_.resize(had + room);
    const ssize_t got = ::read(fd.get(), buffer_.data() + had, room);
    buffer_.resize(had + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read '" + path + "'");
    if (got == 0) return refuse(Code::kAborted, "pack '" + path + "'", "it changed while it was read");
    left -= static_cast<std::uint64_t>(got);
    if (buffer_.size() < kPiece) continue;
    if (auto flushed = flush(); !flushed) return flushed;
  }
  return {};
}

Op<std::string> Packer::run(UniqueFd top) {
  buffer_ = wire::kStageMagic;
  if (auto entered = enter(std::move(top), ""); !entered) return std::unexpected(entered.error());
  while (!open_.empty()) {
    OpenFolder& folder = open_.back();
    if (folder.names.empty()) {
      open_.pop_back();
      continue;
    }
    const std::string name = std::move(folder.names.back());
    folder.names.pop_back();
    std::string path = folder.path.empty() ? name : folder.path + "/" + name;
    if (auto visited = visit(folder.fd.get(), name, std::move(path)); !visited) return std::unexpected(visited.error());
  }
  buffer_ += wire::stage_end(totals_);
  if (auto flushed = flush(); !flushed) return std::unexpected(flushed.error());
  wire::Encoder encoder;
  encoder(wire::PackReply{totals_.entries, totals_.bytes, skipped_});
  return encoder.take();
}

}  // namespace

Op<std::string> pack(const Roots& roots, const wire::Pack& request, int stream, Clock::time_point deadline) {
  const std::string step = "pack '" + request.path + "'";
  if (request.uid == 0 || request.gid == 0) return refuse(Code::kInvalidArgument, step, "uid and gid must not be 0");
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  auto entry = open_parent(*place, false);
  if (!entry) return std::unexpected(entry.error());
  UniqueFd directory(open_beneath(entry->parent.get(), entry->name, O_PATH | O_DIRECTORY));
  struct stat info{};
  if (!directory || ::fstat(directory.get(), &info) != 0) return failed(step);
  if (info.st_uid != shown_id(request.uid)) return refuse(Code::kPermissionDenied, step, "it belongs to somebody else");
  auto packed = run_as(request.uid, request.gid, deadline, [&]() -> Op<std::string> {
    ::signal(SIGPIPE, SIG_IGN);
    UniqueFd readable(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!readable) return failed("open the directory");
    if (int error = apply_landlock_to_directories({directory.get()})) return failed("confine the packer", error);
    if (int error = install_seccomp_filter(build_seccomp_filter())) return failed("confine the packer", error);
    return Packer(request, stream).run(std::move(readable));
  });
  if (!packed) packed.error().step = step + ": " + packed.error().step;
  return packed;
}

}  // namespace mcpbox::box::init
