#include "provision/publish/published_ports.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstring>
#include <list>
#include <optional>
#include <utility>

#include "egress/proxy/tunnel.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/publish/ways_in.h"

namespace mcpbox::provision {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kConnectTime{5};
constexpr std::chrono::minutes kIdleTime{10};
// Where there are too many, one on which nothing moved for so long makes room.
constexpr std::chrono::seconds kSpareTime{10};
constexpr std::chrono::minutes kTellAgain{1};
// Who is refused may come again at once: so often it is done, and no more.
constexpr std::chrono::milliseconds kRefusalPause{20};
constexpr int kBacklog = 64;
constexpr int kAccepts = 16;  // then others have their turn

// Resets it: an end would look like an empty answer.
void refuse(UniqueFd client) {
  const linger at_once{1, 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};
Address loopback(int family, std::uint16_t port) {
  Address out;
  if (family == AF_INET) {
    auto& four = reinterpret_cast<sockaddr_in&>(out.bytes);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    out.size = sizeof four;
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(out.bytes);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    six.sin6_addr = in6addr_loopback;
    out.size = sizeof six;
  }
  return out;
}

// errno, 0 for a listening socket in `out`.
int listen_on(int family, std::uint16_t port, UniqueFd& out) {
  UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno;
  const int one = 1;
  // What closed connections of the last start leave behind for a minute is in nobody's way.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  const Address address = loopback(family, port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.bytes), address.size) != 0) return errno;
  if (::listen(socket.get(), kBacklog) != 0) return errno;
  out = std::move(socket);
  return 0;
}

Error cannot_have(const config::PublishedPort& port, const char* address, int error) {
  if (error == EADDRINUSE) {
    const int other = port.host < 50'000 ? port.host + 10'000 : port.host - 10'000;
    return Error(Code::kFailedPrecondition,
                 fmt::format("port {0} of this machine is taken: another program listens on {1}:{0} "
                             "(`ss -ltnp sport = :{0}` says which); end it, or publish another port: {2}:{3}",
                             port.host, address, other, port.server));
  }
  if (error == EACCES) {
    return Error(Code::kFailedPrecondition,
                 fmt::format("port {} of this machine is not for this user: ports below 1024 are root's "
                             "(net.ipv4.ip_unprivileged_port_start); publish another one: {}:{}",
                             port.host, 8000 + port.host, port.server));
  }
  return Error(Code::kFailedPrecondition,
               fmt::format("port {} of this machine: listen on {}: {}", port.host, address, std::strerror(error)));
}

}  // namespace

struct PublishedPorts::State {
  struct Listener {
    asio::posix::stream_descriptor socket;
    config::PublishedPort port;
  };

  explicit State(asio::any_io_executor loop)
      : executor(loop), tasks(std::make_unique<net::TaskGroup>(loop, "published ports")) {}

  Result<void> listen(const config::PublishedPort& port);
  void open(std::vector<UniqueFd> sockets);
  void close();
  // Both own what they use: whoever closes does not wait for them.
  static Task<void> take_connections(std::shared_ptr<State> self, Listener& listener);
  static Task<void> carry(std::shared_ptr<State> self, UniqueFd client, WayIn way, std::uint16_t port);
  // Whether a connection ends, and its place will be free in a moment.
  bool make_room();
  void too_many(std::uint16_t port);

  asio::any_io_executor executor;
  std::list<Listener> listeners;
  WaysIn ways{{}};
  std::list<egress::Tunnel*> tunnels;  // those that carry() has
  Tell tell;
  std::optional<Clock::time_point> told;
  std::unique_ptr<net::TaskGroup> tasks;  // null: closed
};

Result<void> PublishedPorts::State::listen(const config::PublishedPort& port) {
  for (const int family : {AF_INET, AF_INET6}) {
    UniqueFd socket;
    const int error = listen_on(family, port.host, socket);
    if (family == AF_INET6 && (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) continue;
    const char* address = family == AF_INET ? "127.0.0.1" : "[::1]";
    if (error != 0) return fail(cannot_have(port, address, error));
    Listener& listener = listeners.emplace_back(asio::posix::stream_descriptor(executor), port);
    boost::system::error_code failed;
    listener.socket.assign(socket.get(), failed);
    if (failed) return fail(cannot_have(port, address, failed.value()));
    (void)socket.release();
  }
  return {};
}

void PublishedPorts::State::close() {
  boost::system::error_code ignored;
  for (Listener& each : listeners) each.socket.close(ignored);
  tell = nullptr;
  ways = WaysIn({});
  tasks.reset();
}

bool PublishedPorts::State::make_room() {
  const auto longest = std::ranges::min_element(tunnels, {}, &egress::Tunnel::last_moved);
  if (longest == tunnels.end() || Clock::now() - (*longest)->last_moved() < kSpareTime) return false;
  (*longest)->close("another needs its place");
  return true;
}

void PublishedPorts::State::too_many(std::uint16_t port) {
  const auto now = Clock::now();
  if (!tell || (told && now - *told < kTellAgain)) return;
  told = now;
  tell(fmt::format("published port {}: all {} connections are in use, and more are refused", port, kMaxPublished));
}

Task<void> PublishedPorts::State::take_connections(std::shared_ptr<State> self, Listener& listener) {
  while (self->tasks) {
    auto [error] = co_await listener.socket.async_wait(asio::posix::descriptor_base::wait_read, egress::kTuple);
    if (error || !self->tasks) co_return;
    // Who comes waits for it in the listener's queue.
    bool pause = self->ways.size() == 0 && self->make_room();
    for (int i = 0; i < kAccepts && !pause; ++i) {
      UniqueFd client(::accept4(listener.socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) break;
      auto way = client ? self->ways.take() : std::nullopt;
      if (way) {
        self->tasks->spawn("connection", carry(self, std::move(client), std::move(*way), listener.port.server));
        continue;
      }
      pause = true;  // no descriptor, or nothing to lead on with
      if (!client) continue;
      refuse(std::move(client));
      self->too_many(listener.port.host);
    }
    if (pause) co_await net::sleep_for(kRefusalPause);
  }
}

Task<void> PublishedPorts::State::carry(std::shared_ptr<State> self, UniqueFd client, WayIn way, std::uint16_t port) {
  auto server = co_await connect_by(self->executor, way, port, kConnectTime);
  UniqueFd used;
  if (!server) {
    refuse(std::move(client));
  } else if (auto peer = adopt(self->executor, std::move(client))) {
    struct Carried {
      explicit Carried(asio::any_io_executor executor) : over(std::move(executor)) {}
      ~Carried() {
        if (tunnel) tunnel->close("stopped");
      }
      net::Signal over;
      std::shared_ptr<egress::Tunnel> tunnel;
      std::optional<egress::Stream> server;
    } carried(self->executor);
    struct Listed {
      Listed(State& state, egress::Tunnel* tunnel) : of(state), at(of.tunnels.insert(of.tunnels.end(), tunnel)) {}
      ~Listed() { of.tunnels.erase(at); }
      State& of;
      std::list<egress::Tunnel*>::iterator at;
    };
    carried.tunnel = std::make_shared<egress::Tunnel>(std::move(*peer), std::move(*server), nullptr, kIdleTime);
    carried.tunnel->start("", "", [&carried](const egress::TunnelOutcome&) {
      carried.server = carried.tunnel->take_server();
      carried.over.notify();
    });
    const Listed listed(*self, carried.tunnel.get());
    while (!carried.server) co_await carried.over.wait();
    boost::system::error_code lost;
    used.reset(carried.server->release(lost));
    if (lost) used.reset();
  }
  if (self->tasks) self->ways.give(std::move(way), std::move(used));
}

PublishedPorts::PublishedPorts(std::shared_ptr<State> state) : state_(std::move(state)) {}

PublishedPorts::~PublishedPorts() {
  state_->close();
}

Result<std::unique_ptr<PublishedPorts>> PublishedPorts::listen(asio::any_io_executor executor,
                                                               const std::vector<config::PublishedPort>& ports) {
  auto state = std::make_shared<State>(std::move(executor));
  for (const config::PublishedPort& port : ports) {
    if (auto listening = state->listen(port); !listening) return fail(std::move(listening).error());
  }
  return std::unique_ptr<PublishedPorts>(new PublishedPorts(std::move(state)));
}

void PublishedPorts::open(std::vector<UniqueFd> ways, Tell tell) {
  state_->ways = WaysIn(std::move(ways));
  state_->tell = std::move(tell);
  for (State::Listener& listener : state_->listeners)
    state_->tasks->spawn("listener", State::take_connections(state_, listener));
}

}  // namespace mcpbox::provision
