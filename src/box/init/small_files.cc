#include "box/init/small_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/init/run_as.h"
#include "box/init/sandbox_child.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {
namespace {

Op<void> become_first_owner(const Place& place) {
  std::size_t end = 0;
  while (true) {
    end = place.relative.find('/', end);
    const std::string prefix = place.relative.substr(0, end);
    UniqueFd fd = open_beneath(place.root, prefix, O_PATH);
    if (!fd) return failed("open '" + place.shown + "'");
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return failed("inspect '" + place.shown + "'");
    if (info.st_uid != 0) {
      std::string step;
      const gid_t gid = info.st_gid != 0 ? info.st_gid : static_cast<gid_t>(info.st_uid);
      if (int error = drop_identity(info.st_uid, gid, step)) return failed(step, error);
      return {};
    }
    if (end == std::string::npos) return {};
    ++end;
  }
}

Op<wire::Blob> read_beneath(int directory, const std::string& relative, std::size_t most, const std::string& step) {
  // O_NONBLOCK: a FIFO under that name must not hold us up before its type is known.
  UniqueFd file = open_beneath(directory, relative, O_RDONLY | O_NONBLOCK);
  if (!file) return failed(step);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return failed(step);
  if (!S_ISREG(info.st_mode)) return refuse(Code::kInvalidArgument, step, "it is not a regular file");
  const std::size_t limit = std::min<std::size_t>(most, wire::kMaxBlob);
  wire::Blob content;
  char buffer[65536];
  while (true) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(step);
    if (got == 0) return content;
    if (content.bytes.size() + static_cast<std::size_t>(got) > limit) {
      return refuse(Code::kResourceExhausted, step, "it is larger than " + std::to_string(limit) + " bytes");
    }
    content.bytes.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

Op<void> write_file(const Roots& roots, const wire::WriteFile& request) {
  const std::string step = "write '" + request.path + "'";
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  auto entry = open_parent(*place, false);
  if (!entry) return std::unexpected(entry.error());
  const int parent = entry->parent.get();
  const std::string temporary = random_name(".new.");
  UniqueFd file(::openat(parent, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return failed(step);
  std::string_view rest = request.content.bytes;
  int error = 0;
  while (!rest.empty() && error == 0) {
    const ssize_t written = ::write(file.get(), rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && ::fchmod(file.get(), 0444) != 0) error = errno;
  // Markers say "this environment is complete": they must not appear before their content.
  if (error == 0 && request.durable && ::fdatasync(file.get()) != 0) error = errno;
  if (const int closed = file.close(); error == 0) error = closed;
  if (error == 0 && ::renameat(parent, temporary.c_str(), parent, entry->name.c_str()) != 0) error = errno;
  if (error == 0) return {};
  ::unlinkat(parent, temporary.c_str(), 0);
  return failed(step, error);
}

Op<wire::ReadFileReply> read_file(const Roots& roots, const wire::ReadFile& request) {
  const std::string step = "read '" + request.path + "'";
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  if (auto owner = become_first_owner(*place); !owner) return std::unexpected(owner.error());
  auto content = read_beneath(place->root, place->relative, request.limit, step);
  if (!content) return std::unexpected(content.error());
  return wire::ReadFileReply{std::move(*content)};
}

Op<wire::ListDirectoryReply> list_directory(const Roots& roots, const wire::ListDirectory& request) {
  const std::string step = "list '" + request.path + "'";
  auto place = roots.find(request.path);
  if (!place) return std::unexpected(place.error());
  if (auto owner = become_first_owner(*place); !owner) return std::unexpected(owner.error());
  UniqueFd directory = open_beneath(place->root, place->relative, O_RDONLY | O_DIRECTORY);
  if (!directory) return failed(step);
  auto names = names_in(directory.get(), kMaxListedNames);
  if (!names) {
    if (names.error().error_number != EOVERFLOW) return failed(step, names.error().error_number);
    return refuse(Code::kResourceExhausted, step, "it has more than " + std::to_string(kMaxListedNames) + " entries");
  }
  wire::ListDirectoryReply reply{std::move(*names), {}};
  for (const std::string& name : request.read) {
    const std::string reading = "read '" + request.path + "/" + name + "'";
    if (!wire::is_plain_name(name)) return refuse(Code::kInvalidArgument, reading, "must be a single name");
    auto content = read_beneath(directory.get(), name, request.limit, reading);
    if (!content && content.error().error_number != ENOENT) return std::unexpected(content.error());
    reply.contents.push_back(content ? std::optional(std::move(*content)) : std::nullopt);
  }
  return reply;
}

}  // namespace mcpbox::box::init
