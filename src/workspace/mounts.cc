#include "workspace/mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>

#include "base/errno_error.h"
#include "base/text.h"
#include "sys/small_file.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

constexpr const char* kMountInfo = "/proc/self/mountinfo";
constexpr std::size_t kMaxMountInfo = 64u << 20;
// What the kernel appends to the root of a mount whose folder was removed; no path has an empty component of its own.
constexpr std::string_view kDeleted = "//deleted";

template <typename Number>
bool read_number(std::string_view text, Number& out, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

// Blanks, tabs, line feeds and backslashes are octal, "\\040".
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 3);
    if (text[i] == '\\' && digits.size() == 3 && read_number(digits, value, 8)) {
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": id, parent, device, root, mount point.
std::optional<Mount> parse(std::string_view line) {
  const auto fields = split(line, ' ');
  if (fields.size() < 5) return std::nullopt;
  const auto numbers = split(fields[2], ':');
  unsigned major = 0, minor = 0;
  if (numbers.size() != 2 || !read_number(numbers[0], major) || !read_number(numbers[1], minor)) return std::nullopt;
  Mount mount;
  if (!read_number(fields[0], mount.id)) return std::nullopt;
  mount.shows.device = makedev(major, minor);
  mount.shows.path = unescape(fields[3]);
  mount.at = unescape(fields[4]);
  if (mount.shows.path.ends_with(kDeleted)) mount.shows.path.resize(mount.shows.path.size() - kDeleted.size());
  if (mount.shows.path.empty()) mount.shows.path = "/";
  if (!mount.shows.path.starts_with('/') || !mount.at.starts_with('/')) return std::nullopt;
  return mount;
}

}  // namespace

bool is_beneath(const FsPlace& place, const FsPlace& other) {
  return place.device == other.device && is_beneath(place.path, other.path);
}

Result<MountTable> MountTable::read() {
  UniqueFd file(::open(kMountInfo, O_RDONLY | O_CLOEXEC));
  if (!file) return fail(errno_error(errno, fmt::format("open {}", kMountInfo)));
  auto text = sys::read_all(file.get(), kMaxMountInfo);
  if (!text) return fail(std::move(text).error().with_context(kMountInfo));
  return MountTable(*text);
}

MountTable::MountTable(std::string_view mountinfo) {
  for (const std::string_view line : split(mountinfo, '\n')) {
    if (auto mount = parse(line)) mounts_.push_back(std::move(*mount));
  }
}

std::optional<FsPlace> MountTable::locate(const std::string& path, std::uint64_t mount) const {
  const Mount* in = nullptr;
  for (const Mount& each : mounts_) {
    if (!is_beneath(path, each.at)) continue;
    if (mount != 0 ? each.id == mount : in == nullptr || each.at.size() >= in->at.size()) in = &each;
  }
  if (in == nullptr) return std::nullopt;
  return FsPlace{in->shows.device, join_path(in->shows.path, relative_to(path, in->at))};
}

std::expected<Opened, int> look_at(int fd) {
  struct statx info{};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_MNT_ID, &info) != 0)
    return std::unexpected(errno);
  Opened opened{.id = {makedev(info.stx_dev_major, info.stx_dev_minor), info.stx_ino}};
  if ((info.stx_mask & STATX_MNT_ID) != 0) opened.mount = info.stx_mnt_id;
  std::array<char, PATH_MAX> name{};
  const ssize_t size = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), name.data(), name.size());
  if (size > 0 && static_cast<std::size_t>(size) < name.size() && name[0] == '/')
    opened.path.assign(name.data(), static_cast<std::size_t>(size));
  return opened;
}

std::expected<Opened, int> look_at(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) return std::unexpected(errno);
  return look_at(fd.get());
}

}  // namespace mcpbox::workspace
