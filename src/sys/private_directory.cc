#include "sys/private_directory.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {

Result<bool> make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return true;
  if (errno != EEXIST) return fail(errno_error(errno, "cannot make " + printable(path)));
  struct stat status{};
  // Not stat: a link could lead what we put there anywhere.
  if (::lstat(path.c_str(), &status) != 0) return fail(errno_error(errno, printable(path)));
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    return fail(
        Code::kPermissionDenied,
        fmt::format("{} must be a directory of this user that nobody else can enter (chmod 700); mend or remove it",
                    printable(path)));
  }
  return false;
}

Result<void> make_private_path(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST)
      return fail(errno_error(errno, "cannot make " + printable(parent)));
  }
  auto made = make_private_directory(path);
  if (!made) return fail(std::move(made).error());
  return {};
}

}  // namespace mcpbox::sys
