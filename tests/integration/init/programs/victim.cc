// What a server looks like to a neighbour: a secret in its environment and folder, a TCP port and an abstract socket.
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main() {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(7777);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int tcp = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::bind(tcp, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(tcp, 8) != 0) return 1;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  ::strcpy(name.sun_path + 1, "victim");
  const int local = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (::bind(local, reinterpret_cast<sockaddr*>(&name), offsetof(sockaddr_un, sun_path) + 7) != 0 ||
      ::listen(local, 8) != 0) {
    return 2;
  }
  ::printf("ready\n");
  ::fflush(stdout);
  char line[256];
  while (::fgets(line, sizeof line, stdin) != nullptr) {
    ::printf("answer %s", line);
    ::fflush(stdout);
  }
}
