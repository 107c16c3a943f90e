#include "workspace/folder_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>

#include "base/errno_error.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "sys/path_guard.h"
#include "sys/small_file.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

constexpr unsigned kMaxLinks = 40;  // as the kernel's own limit, path_resolution(7)
constexpr std::size_t kMaxTarget = 4096;

std::string leaves_by_link(const std::string& link, std::string_view target, const std::string& folder) {
  return fmt::format(
      "{} is a link to {}, which lies outside of {}, so it is not followed: put the file itself there, or stage "
      "({}) a folder that holds both",
      quoted_path(link), quoted_path(target), quoted_path(folder), setting_name("box.host_path", "--stage"));
}

}  // namespace

std::expected<int, FolderReader::Missed> FolderReader::open(const std::string& folder) {
  if (const auto known = folders_.find(folder); known != folders_.end()) return known->second.get();
  auto opened = sys::open_directory(folder);
  if (!opened) return std::unexpected(Missed{ENOENT, ""});
  return folders_.emplace(folder, std::move(*opened)).first->second.get();
}

// One component after the other: what a link leads to is judged before it is opened, and no link is left to the kernel.
std::expected<FolderReader::Found, FolderReader::Missed> FolderReader::find(const Within& folder,
                                                                            const std::string& path) {
  const auto root = open(folder.host);
  if (!root) return std::unexpected(root.error());
  if (!is_beneath(path, folder.host)) return std::unexpected(Missed{EXDEV, ""});
  const sys::BeneathOptions options{.cross_mounts = folder.cross_mounts};
  std::deque<std::string> ahead;
  const std::string below = relative_to(path, folder.host);
  for (const std::string_view part : split(below, '/')) ahead.emplace_back(part);
  Found found;
  std::string link;  // that was followed last, and where it leads
  std::string leads_to;
  unsigned links = 0;
  while (!ahead.empty()) {
    const std::string name = std::move(ahead.front());
    ahead.pop_front();
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      // What is behind us has no links any more.
      if (found.relative.empty()) return std::unexpected(Missed{ELOOP, leaves_by_link(link, leads_to, folder.host)});
      found.relative = found.relative.find('/') == std::string::npos ? "" : parent_of(found.relative);
      found.file.reset();
      continue;
    }
    std::string next = found.relative.empty() ? name : found.relative + "/" + name;
    auto opened = sys::open_beneath(*root, next, O_PATH, options);
    if (!opened && opened.error() == EXDEV) {
      return std::unexpected(
          Missed{EXDEV, fmt::format("{} lies on another file system than {}, of which no copy "
                                    "speaks, so it is not read; put it into the folder itself",
                                    quoted_path(join_path(folder.host, next)), quoted_path(folder.host))});
    }
    if (!opened) return std::unexpected(Missed{opened.error(), ""});
    struct stat status{};
    if (::fstat(opened->get(), &status) != 0) return std::unexpected(Missed{errno, ""});
    if (!S_ISLNK(status.st_mode)) {
      found.file = std::move(*opened);
      found.relative = std::move(next);
      continue;
    }
    std::string target(kMaxTarget + 1, '\0');
    const ssize_t size = ::readlinkat(opened->get(), "", target.data(), target.size());
    if (size < 0) return std::unexpected(Missed{errno, ""});
    target.resize(static_cast<std::size_t>(size));
    if (++links > kMaxLinks || target.empty() || target.size() > kMaxTarget) return std::unexpected(Missed{ELOOP, ""});
    link = join_path(folder.host, next);
    leads_to = std::move(target);
    if (leads_to.front() == '/') return std::unexpected(Missed{ELOOP, leaves_by_link(link, leads_to, folder.host)});
    std::deque<std::string> behind;
    for (const std::string_view part : split(leads_to, '/')) behind.emplace_back(part);
    ahead.insert(ahead.begin(), behind.begin(), behind.end());
    found.file.reset();
  }
  if (!found.file) {  // a folder that a link names by ".."
    auto opened = found.relative.empty() ? sys::reopen(*root, O_PATH | O_DIRECTORY)
                                         : sys::open_beneath(*root, found.relative, O_PATH, options);
    if (!opened) return std::unexpected(Missed{opened.error(), ""});
    found.file = std::move(*opened);
  }
  return found;
}

FolderReader::Look FolderReader::look(const Within& folder, const std::string& path) {
  const auto found = find(folder, path);
  if (!found && !found.error().why.empty()) return {Kind::kLeaves, found.error().why};
  struct stat status{};
  if (!found || ::fstat(found->file.get(), &status) != 0) return {};
  if (S_ISREG(status.st_mode)) return {Kind::kFile, ""};
  return {S_ISDIR(status.st_mode) ? Kind::kDirectory : Kind::kOther, ""};
}

std::vector<FolderReader::Read> FolderReader::reads() const {
  std::vector<Read> out;
  for (const auto& [asked, real] : known_) {
    if (const auto text = texts_.find(real); text != texts_.end()) out.push_back({asked.second, real, text->second});
  }
  return out;
}

Result<std::string> FolderReader::text(const Within& folder, const std::string& path, std::size_t limit) {
  if (const auto known = known_.find({folder.host, path}); known != known_.end()) {
    const std::string& kept = texts_.at(known->second);
    if (kept.size() > limit) return fail(Code::kResourceExhausted, fmt::format("it has more than {} bytes", limit));
    return kept;
  }
  auto found = find(folder, path);
  if (!found && !found.error().why.empty()) return fail(Code::kPermissionDenied, found.error().why);
  if (!found) return fail(errno_error(found.error().error, "read " + quoted_path(path)));
  std::string real = join_path(folder.host, found->relative);
  // By another name, or beneath another folder.
  auto kept = texts_.find(real);
  if (kept == texts_.end()) {
    struct stat status{};
    if (::fstat(found->file.get(), &status) != 0 || !S_ISREG(status.st_mode))
      return fail(Code::kInvalidArgument, quoted_path(path) + " is not a regular file");
    auto file = sys::reopen(found->file.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!file) return fail(errno_error(file.error(), "read " + quoted_path(path)));
    auto read = sys::read_all(file->get(), limit);
    if (!read) return fail(std::move(read).error().with_context(quoted_path(path)));
    kept = texts_.emplace(std::move(real), std::move(*read)).first;
  } else if (kept->second.size() > limit) {
    return fail(Code::kResourceExhausted, fmt::format("it has more than {} bytes", limit));
  }
  known_.emplace(std::pair(folder.host, path), kept->first);
  return kept->second;
}

}  // namespace mcpbox::workspace
