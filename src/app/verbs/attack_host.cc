#include "app/verbs/attack_host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace mcpbox::app {

HostService::HostService(std::string text) : text_(std::move(text)) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  over_read_.reset(ends[0]);
  over_write_.reset(ends[1]);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;  // and IPv4, in one socket
  auto* any = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  listening_.reset(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int off = 0;
  if (listening_) (void)::setsockopt(listening_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in four{};
  if (!listening_ || ::bind(listening_.get(), any, size) != 0) {  // a machine without IPv6
    four.sin_family = AF_INET;
    any = reinterpret_cast<sockaddr*>(&four);
    size = sizeof four;
    listening_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!listening_ || ::bind(listening_.get(), any, size) != 0) return;
  }
  if (::listen(listening_.get(), 16) != 0 || ::getsockname(listening_.get(), any, &size) != 0) return;
  port_ = ntohs(four.sin_family == AF_INET ? four.sin_port : address.sin6_port);
  thread_ = std::thread([this] { serve(); });
}

HostService::~HostService() {
  over_write_.reset();
  if (thread_.joinable()) thread_.join();
}

void HostService::serve() {
  pollfd waiting[] = {{listening_.get(), POLLIN, 0}, {over_read_.get(), 0, 0}};
  while (true) {
    if (::poll(waiting, 2, -1) < 0) continue;
    if (waiting[1].revents != 0) return;
    const UniqueFd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) (void)::send(client.get(), text_.data(), text_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

std::vector<std::string> HostService::addresses() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const ifaddrs* each = all; each != nullptr && out.size() < 16; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    char text[INET6_ADDRSTRLEN];
    const void* bytes = nullptr;
    if (each->ifa_addr->sa_family == AF_INET) {
      bytes = &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr;
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      const auto& six = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr)->sin6_addr;
      if (!IN6_IS_ADDR_LINKLOCAL(&six)) bytes = &six;
    }
    if (bytes != nullptr && ::inet_ntop(each->ifa_addr->sa_family, bytes, text, sizeof text) != nullptr)
      out.emplace_back(text);
  }
  ::freeifaddrs(all);
  return out;
}

}  // namespace mcpbox::app
