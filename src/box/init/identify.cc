#include "box/init/identify.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include <string_view>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

// O_PATH, and a link itself rather than what it names. Of a folder that is mounted inside of another one that only its
// owner may enter, root without capabilities sees nothing; that owner does.
UniqueFd step(int directory, const std::string& name) {
  constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd next(::openat(directory, name.c_str(), kFlags));
  struct stat info{};
  if (next || errno != EACCES || ::fstat(directory, &info) != 0) return next;
  (void)::setfsgid(info.st_gid);
  (void)::setfsuid(info.st_uid);
  next.reset(::openat(directory, name.c_str(), kFlags));
  return next;
}

}  // namespace

wire::Identity identify(const std::string& path) {
  wire::Identity out;
  const auto error = [&](int number) {
    out = {};
    out.error = number;
    return out;
  };
  if (path.empty() || path.front() != '/') return error(EINVAL);
  UniqueFd here(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest(path);
  while (true) {
    struct stat info{};
    if (!here || ::fstat(here.get(), &info) != 0) return error(errno);
    if (S_ISLNK(info.st_mode)) return error(ELOOP);
    out.device = info.st_dev;
    out.inode = info.st_ino;
    const std::size_t begin = rest.find_first_not_of('/');
    if (begin == std::string_view::npos) return out;
    rest.remove_prefix(begin);
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size());
    if (name == "." || name == "..") return error(EINVAL);
    here = step(here.get(), name);
  }
}

wire::IdentifyReply identify(const wire::Identify& request) {
  wire::IdentifyReply reply;
  for (const std::string& path : request.paths) reply.found.push_back(identify(path));
  return reply;
}

}  // namespace mcpbox::box::init
