#include "box/init/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mcpbox::box::init {

UniqueFd listen_on(const std::string& path, uid_t owner, std::string& problem) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    problem = "the path of the control socket is longer than " + std::to_string(sizeof address.sun_path - 1) + " bytes";
    errno = ENAMETOOLONG;
    return UniqueFd();
  }
  ::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (owner != 0 && ::seteuid(owner) != 0) {
    problem = "become the owner of the control socket";
    return UniqueFd();
  }
  ::umask(0177);
  ::unlink(path.c_str());  // of a sandbox that was killed
  const bool bound = ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const int error = errno;
  ::umask(0077);
  if (::seteuid(0) != 0) ::_exit(1);
  if (!bound) {
    problem = "make the control socket '" + path + "'";
    errno = error;
    return UniqueFd();
  }
  if (::listen(socket.get(), 16) != 0) {
    problem = "listen on the control socket";
    return UniqueFd();
  }
  return socket;
}

}  // namespace mcpbox::box::init
