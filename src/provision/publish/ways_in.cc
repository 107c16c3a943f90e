#include "provision/publish/ways_in.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

namespace mcpbox::provision {
namespace {

namespace asio = boost::asio;

int option_of(int socket, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// connect(2): "may dissolve the association by connecting to an address with the sa_family member of sockaddr set to
// AF_UNSPEC; thereafter, the socket can be connected to another address". Also when it is not connected.
bool disconnect(int socket) {
  sockaddr_storage nowhere{};
  nowhere.ss_family = AF_UNSPEC;
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&nowhere), sizeof nowhere) == 0;
}

// Where nobody listens, the kernel may have chosen the very port as ours: then the socket talks to itself (TCP's
// simultaneous open).
bool is_with_itself(int socket) {
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof own, peer_size = sizeof peer;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
      ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0)
    return true;
  const auto port_of = [](const sockaddr_storage& address) {
    return address.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                                        : reinterpret_cast<const sockaddr_in6&>(address).sin6_port;
  };
  return port_of(own) == port_of(peer);
}

// The socket is back in `place` when it was not connected.
Task<std::optional<egress::Stream>> connect_one(asio::any_io_executor executor, UniqueFd& place,
                                                asio::ip::address address, std::uint16_t port,
                                                std::chrono::milliseconds limit) {
  if (!place) co_return std::nullopt;
  auto stream = adopt(executor, std::move(place));
  if (!stream) co_return std::nullopt;
  bool connected = false;
  {
    const egress::Deadline deadline(*stream, limit);
    const asio::ip::tcp::endpoint endpoint(address, port);
    auto [error] = co_await stream->async_connect(endpoint, egress::kTuple);
    connected = !error && !is_with_itself(stream->native_handle());
  }
  if (connected) co_return stream;
  boost::system::error_code lost;
  UniqueFd socket(stream->release(lost));
  if (!lost && disconnect(socket.get())) place = std::move(socket);
  co_return std::nullopt;
}

}  // namespace

WaysIn::WaysIn(std::vector<UniqueFd> sockets) {
  std::vector<UniqueFd> sixes;
  for (UniqueFd& socket : sockets) {
    if (option_of(socket.get(), SO_TYPE) != SOCK_STREAM) continue;
    const int family = option_of(socket.get(), SO_DOMAIN);
    if (family == AF_INET)
      free_.push_back({std::move(socket), {}});
    else if (family == AF_INET6)
      sixes.push_back(std::move(socket));
  }
  for (std::size_t i = 0; i < sixes.size() && i < free_.size(); ++i) free_[i].six = std::move(sixes[i]);
}

std::optional<WayIn> WaysIn::take() {
  if (free_.empty()) return std::nullopt;
  WayIn way = std::move(free_.back());
  free_.pop_back();
  return way;
}

void WaysIn::give(WayIn way, UniqueFd used) {
  if (used && disconnect(used.get()))
    (option_of(used.get(), SO_DOMAIN) == AF_INET ? way.four : way.six) = std::move(used);
  if (way.four || way.six) free_.push_back(std::move(way));
}

std::optional<egress::Stream> adopt(const asio::any_io_executor& executor, UniqueFd socket) {
  const int one = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  egress::Stream stream(executor);
  boost::system::error_code failed;
  stream.assign(asio::generic::stream_protocol(option_of(socket.get(), SO_DOMAIN), IPPROTO_TCP), socket.get(), failed);
  if (failed) return std::nullopt;
  (void)socket.release();
  return stream;
}

Task<std::optional<egress::Stream>> connect_by(asio::any_io_executor executor, WayIn& way, std::uint16_t port,
                                               std::chrono::milliseconds limit) {
  auto stream = co_await connect_one(executor, way.four, asio::ip::address_v4::loopback(), port, limit);
  if (stream) co_return stream;
  co_return co_await connect_one(std::move(executor), way.six, asio::ip::address_v6::loopback(), port, limit);
}

}  // namespace mcpbox::provision
