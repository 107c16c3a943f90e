// Part of probe.h: what a server may do.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

Outcome talk_to_itself(const Target&) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || ::bind(server, any, size) != 0 || ::listen(server, 1) != 0) return blocked_by(errno);
  ::getsockname(server, any, &size);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client < 0 || ::connect(client, any, size) != 0) return blocked_by(errno);
  const int accepted = ::accept(server, nullptr, nullptr);
  char text[8] = {};
  if (accepted < 0 || ::send(client, "hello", 5, 0) != 5 || ::recv(accepted, text, 5, MSG_WAITALL) != 5)
    return blocked_by(errno);
  return hit("port " + std::to_string(ntohs(address.sin_port)));
}

Outcome use_folder(const Target& target, const std::string& folder) {
  int error = 0;
  return can_make(folder + "/" + abstract_name(target) + "-own", error) ? hit("made a file") : blocked_by(error);
}

// Without the name service, which a static program does not have.
Outcome have_a_name(const Target&) {
  FILE* const users = ::fopen("/etc/passwd", "re");
  if (users == nullptr) return blocked_by(errno);
  while (const passwd* const user = ::fgetpwent(users)) {
    if (user->pw_uid == ::getuid()) return hit(user->pw_name);
  }
  return blocked("uid " + std::to_string(::getuid()) + " is not in /etc/passwd");
}

Outcome open_terminal(const Target&) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0) return blocked_by(errno);
  char name[64];
  if (::ptsname_r(terminal, name, sizeof name) != 0) return blocked_by(errno);
  const int other = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return other >= 0 ? hit(name) : blocked_by(errno);
}

}  // namespace

void add_works(std::vector<Attack>& attacks) {
  attacks.push_back({"W01", talk_to_itself});
  attacks.push_back({"W02", [](const Target& target) { return use_folder(target, "/tmp"); }});
  attacks.push_back({"W03", [](const Target& target) { return use_folder(target, "/dev/shm"); }});
  attacks.push_back({"W04", have_a_name});
  attacks.push_back({"W05", open_terminal});
}

}  // namespace mcpbox::box::probe
