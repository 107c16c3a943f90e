#include "sys/private_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {
namespace {

// What keeps the directory from being ours alone, and what mends it; empty when nothing does.
std::string what_is_wrong(const std::string& path, const struct stat& status) {
  const std::string name = printable(path);
  if (S_ISLNK(status.st_mode)) return "is a link: remove it";
  if (!S_ISDIR(status.st_mode)) return "is none: remove it";
  const uid_t own = ::geteuid();
  if (status.st_uid != own)
    return fmt::format("belongs to user {}, not to {}: `chown {} {}`", status.st_uid, own, own, name);
  if ((status.st_mode & 077) != 0) return fmt::format("has mode {:04o}: `chmod 700 {}`", status.st_mode & 07777, name);
  return {};
}

// /proc and its likes say that the new folder does not exist.
Error cannot_make(int number, const std::string& path) {
  const std::string parent = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  if (number == ENOENT && ::access(parent.c_str(), F_OK) == 0) {
    return Error(Code::kPermissionDenied,
                 fmt::format("cannot make {}: nobody can make folders in {}", printable(path), printable(parent)));
  }
  return errno_error(number, "cannot make " + printable(path));
}

}  // namespace

Result<void> check_usable_directory(const std::string& path) {
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0) return {};
  const int number = errno;
  std::string mend;
  if (number == EACCES) mend = fmt::format(" (its owner can: `chmod 700 {}`)", printable(path));
  return fail(Code::kPermissionDenied, fmt::format("{} cannot be read and written by this user: {}{}", printable(path),
                                                   std::strerror(number), mend));
}

Result<bool> make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return true;
  if (errno != EEXIST) return fail(cannot_make(errno, path));
  struct stat status{};
  // Not stat: a link could lead what we put there anywhere.
  if (::lstat(path.c_str(), &status) != 0) return fail(errno_error(errno, printable(path)));
  if (const std::string wrong = what_is_wrong(path, status); !wrong.empty()) {
    return fail(
        Code::kPermissionDenied,
        fmt::format("{} must be a directory of this user that nobody else can enter, and {}", printable(path), wrong));
  }
  if (auto usable = check_usable_directory(path); !usable) return fail(std::move(usable).error());
  return false;
}

Result<void> make_private_path(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) return fail(cannot_make(errno, parent));
  }
  auto made = make_private_directory(path);
  if (!made) return fail(std::move(made).error());
  return {};
}

}  // namespace mcpbox::sys
