// Part of probe.h: sockets that lead to the victim or to the host, and families that no server needs.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>

#include "box/probe/probe.h"

#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif
#ifndef AF_ALG
#define AF_ALG 38
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace mcpbox::box::probe {
namespace {

// What the other side says within a second.
std::string hear(int fd) {
  char text[256];
  pollfd waiting{fd, POLLIN, 0};
  if (::poll(&waiting, 1, 1000) <= 0) return {};
  const ssize_t got = ::recv(fd, text, sizeof text, MSG_DONTWAIT);
  return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : std::string();
}

// Connects within half a second. -1 with errno.
int connect_to(const sockaddr* address, socklen_t size, int protocol, bool fast_open) {
  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) return -1;
  const bool begun = fast_open ? ::sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, address, size) >= 0
                               : ::connect(fd, address, size) == 0;
  if (begun) return fd;
  int error = errno;
  if (error == EINPROGRESS) {
    pollfd waiting{fd, POLLOUT, 0};
    socklen_t length = sizeof error;
    if (::poll(&waiting, 1, 500) <= 0) {
      error = ETIMEDOUT;
    } else {
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error == 0) return fd;
  }
  ::close(fd);
  errno = error;
  return -1;
}

Outcome reach(const sockaddr* address, socklen_t size, const std::string& expected, int protocol = 0,
              bool fast_open = false) {
  const int fd = connect_to(address, size, protocol, fast_open);
  if (fd < 0) return blocked_by(errno);
  const std::string heard = hear(fd);
  ::close(fd);
  return heard == expected ? hit("connected") : blocked("somebody else answers there");
}

sockaddr_in loopback(int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

Outcome reach_port(const Target& target) {
  if (target.port == 0) return none("the victim may open no port here");
  const sockaddr_in address = loopback(target.port);
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);
  Outcome outcome;
  for (const auto& [protocol, fast_open] : {std::pair(0, false), {IPPROTO_MPTCP, false}, {0, true}}) {
    outcome = reach(any, sizeof address, canary(target, "port"), protocol, fast_open);
    if (outcome.verdict == Outcome::Verdict::kHit) break;
  }
  return outcome;
}

Outcome reach_abstract(const Target& target) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = abstract_name(target);
  ::memcpy(address.sun_path + 1, name.data(), name.size());
  return reach(reinterpret_cast<const sockaddr*>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size()), canary(target, "abstract"));
}

Outcome read_shared_memory(const Target& target) {
  const int id = ::shmget(shared_memory_key(target), 0, 0);
  if (id < 0) return blocked_by(errno);
  void* const at = ::shmat(id, nullptr, SHM_RDONLY);
  if (reinterpret_cast<std::intptr_t>(at) == -1) return blocked_by(errno);
  const bool found = canary(target, "shm") == static_cast<const char*>(at);
  ::shmdt(at);
  return found ? hit("read it") : blocked("it is another");
}

// Nothing is sent: that it can be had is what matters.
Outcome open_socket(int family, int type, int protocol) {
  const int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
  if (fd < 0 && errno == EAFNOSUPPORT) return blocked("the kernel has none, or hides it");
  if (fd < 0) return blocked_by(errno);
  ::close(fd);
  return hit("opened");
}

// Packets to nowhere but loopback need no rights where the network is the attacker's own; what may go out counts.
Outcome open_packet(const Target&) {
  return open_socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
}

Outcome reach_host(const Target& target) {
  if (target.host_port == 0) return none("no service of the host was started");
  Outcome outcome = blocked("no address of the host is known");
  for (const std::string& text : target.host_addresses) {
    sockaddr_in four{};
    sockaddr_in6 six{};
    const auto port = htons(static_cast<std::uint16_t>(target.host_port));
    if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
      four.sin_family = AF_INET;
      four.sin_port = port;
      outcome = reach(reinterpret_cast<const sockaddr*>(&four), sizeof four, canary(target, "host"));
    } else if (::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
      six.sin6_family = AF_INET6;
      six.sin6_port = port;
      outcome = reach(reinterpret_cast<const sockaddr*>(&six), sizeof six, canary(target, "host"));
    }
    if (outcome.verdict == Outcome::Verdict::kHit) return hit("connected to " + text);
  }
  return outcome;
}

}  // namespace

void add_socket_attacks(std::vector<Attack>& attacks) {
  attacks.push_back({"A10", reach_port});
  attacks.push_back({"A11", reach_abstract});
  attacks.push_back({"A12", read_shared_memory});
  attacks.push_back({"A17", open_packet});
  attacks.push_back({"A23", [](const Target&) { return open_socket(AF_VSOCK, SOCK_STREAM, 0); }});
  attacks.push_back({"A24", [](const Target&) { return open_socket(AF_ALG, SOCK_SEQPACKET, 0); }});
  attacks.push_back({"A28", reach_host});
  attacks.push_back({"B06", [](const Target&) { return open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }});
}

}  // namespace mcpbox::box::probe
