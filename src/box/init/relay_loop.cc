#include "box/init/relay_loop.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "box/init/relay_orders.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxConnections =
    512;  // of at most six descriptors each, which the sandbox's limit of 4,096 allows
constexpr unsigned kMaxOfUid = 64;
constexpr int kAccepts = 64;  // at once
constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kDrainTime = std::chrono::seconds(2);
constexpr int kTickMs = 50;
constexpr std::uint64_t kListener = 0, kOrders = 1;  // connections' numbers, times two, begin at 2
constexpr std::uint64_t kOwnListener = 1ull << 63;   // and the number of a server's own
constexpr unsigned kClientSide = 0, kProxySide = 1;

constexpr char kTooMany[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    "mcpbox egress: too many connections at once: 64 of one server and 512 of the whole sandbox are allowed\n";
constexpr char kNoProxy[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    "mcpbox egress: the egress proxy is not running; mcpbox starts it again, try once more\n";

// Into the buffer of a connection that nothing was sent on yet.
void say(int fd, const char* text) {
  (void)!::send(fd, text, ::strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

RelayLoop::RelayLoop(int listener, UniqueFd orders, std::string socket_name, PeerUids uids)
    : listener_(listener),
      orders_(std::move(orders)),
      socket_name_(std::move(socket_name)),
      uids_(std::move(uids)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

void RelayLoop::run() {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kListener;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_, &event) != 0) return;
  event.data.u64 = kOrders;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, orders_.get(), &event) != 0) return;
  while (true) {
    epoll_event ready[64];
    const int count = ::epoll_wait(epoll_.get(), ready, 64, timed_.empty() ? -1 : kTickMs);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      if (ready[i].data.u64 == kListener) {
        if (!accept_all(listener_, nullptr)) return;
        continue;
      }
      if (ready[i].data.u64 == kOrders) {
        if (!take_orders()) return;
        continue;
      }
      if ((ready[i].data.u64 & kOwnListener) != 0) {
        accept_own(static_cast<std::uint32_t>(ready[i].data.u64));
        continue;
      }
      // Gone in this same round, perhaps.
      const auto found = connections_.find(ready[i].data.u64 / 2);
      if (found == connections_.end()) continue;
      if (found->second.state == State::kCarrying)
        carry(found->second);
      else
        drain(found->second);
    }
    run_due();
  }
}

bool RelayLoop::take_orders() {
  while (true) {
    RelayOrder order;
    UniqueFd listener;
    const Ordered got = receive_order(orders_.get(), order, listener);
    if (got == Ordered::kNothing) return true;
    if (got == Ordered::kEnd) return false;
    forget_own(order.number);
    if (order.kind != RelayOrder::Kind::kServe || !listener) continue;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kOwnListener | order.number;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener.get(), &event) != 0) return false;
    own_[order.number] = Own{std::move(listener), order.uid};
  }
}

// Explicitly out of epoll: PID 1 may have the same open file.
void RelayLoop::forget_own(std::uint32_t number) {
  const auto found = own_.find(number);
  if (found == own_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.listener.get(), nullptr);
  own_.erase(found);
}

void RelayLoop::accept_own(std::uint32_t number) {
  const auto found = own_.find(number);
  if (found == own_.end()) return;
  // One that cannot be listened on any more is its server's loss alone.
  if (!accept_all(found->second.listener.get(), &found->second)) forget_own(number);
}

bool RelayLoop::accept_all(int listener, const Own* own) {
  for (int i = 0; i < kAccepts; ++i) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    UniqueFd client(::accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
      take(std::move(client), peer, own);
      continue;
    }
    if (errno == EINVAL || errno == EBADF || errno == ENOTSOCK) return false;
    return true;  // none waiting, or one that has gone again
  }
  return true;
}

std::optional<uid_t> RelayLoop::peer_of(const UniqueFd& client, const sockaddr_in& peer) {
  sockaddr_in local{};
  socklen_t size = sizeof local;
  if (::getsockname(client.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) return std::nullopt;
  return uids_.find(peer, local);
}

void RelayLoop::take(UniqueFd client, const sockaddr_in& peer, const Own* own) {
  const auto uid = own != nullptr ? std::optional(own->uid) : peer_of(client, peer);
  if (!uid) return;
  const auto count = of_uid_.find(*uid);
  if (connections_.size() >= kMaxConnections || (count != of_uid_.end() && count->second >= kMaxOfUid))
    return say(client.get(), kTooMany);
  const int one = 1;
  ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const std::uint64_t number = ++next_number_;
  Connection& connection = connections_[number];
  connection.number = number;
  connection.uid = *uid;
  connection.client = std::move(client);
  ++of_uid_[*uid];
  if (reach(connection)) return carry(connection);
  connection.until = Clock::now() + kPatience;
  timed_.push_back(number);
}

// True when the proxy has taken the connection and knows whose it is.
bool RelayLoop::reach(Connection& connection) {
  UniqueFd proxy(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, socket_name_.c_str(), sizeof address.sun_path - 1);
  if (!proxy || ::connect(proxy.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return false;
  const std::string preface =
      "MCPBOX1 " + std::to_string(connection.uid) + (sandbox_.empty() ? "" : " " + sandbox_) + "\n";
  if (::send(proxy.get(), preface.data(), preface.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(preface.size()))
    return false;
  connection.proxy = std::move(proxy);
  connection.up.connect(connection.client.get(), connection.proxy.get());
  connection.down.connect(connection.proxy.get(), connection.client.get());
  connection.state = State::kCarrying;
  return true;
}

void RelayLoop::carry(Connection& connection) {
  if (!connection.up.pump(pipes_) || !connection.down.pump(pipes_)) return end(connection.number);
  if (connection.up.finished() && connection.down.finished()) return end(connection.number);
  const bool watched =
      watch(connection, connection.client.get(), kClientSide, connection.client_events,
            (connection.up.wants_read() ? EPOLLIN : 0u) | (connection.down.wants_write() ? EPOLLOUT : 0u)) &&
      watch(connection, connection.proxy.get(), kProxySide, connection.proxy_events,
            (connection.down.wants_read() ? EPOLLIN : 0u) | (connection.up.wants_write() ? EPOLLOUT : 0u));
  if (!watched) end(connection.number);
}

// A descriptor of which nothing is wanted is not watched: that its peer has gone would be reported without end.
bool RelayLoop::watch(Connection& connection, int fd, unsigned side, unsigned& now, unsigned wanted) {
  if (now == wanted) return true;
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = connection.number * 2 + side;
  const int what = wanted == 0 ? EPOLL_CTL_DEL : now == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_.get(), what, fd, &event) != 0) return false;
  now = wanted;
  return true;
}

// Closing with unread bytes would reset the connection, and the answer with it.
void RelayLoop::refuse(Connection& connection) {
  say(connection.client.get(), kNoProxy);
  ::shutdown(connection.client.get(), SHUT_WR);
  connection.state = State::kDraining;
  connection.until = Clock::now() + kDrainTime;
  if (!watch(connection, connection.client.get(), kClientSide, connection.client_events, EPOLLIN))
    end(connection.number);
}

void RelayLoop::drain(Connection& connection) {
  const ssize_t got = ::recv(connection.client.get(), nullptr, 1 << 16, MSG_TRUNC | MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) end(connection.number);
}

void RelayLoop::end(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  const auto count = of_uid_.find(found->second.uid);
  if (--count->second == 0) of_uid_.erase(count);
  connections_.erase(found);
}

void RelayLoop::run_due() {
  if (timed_.empty()) return;
  const auto now = Clock::now();
  std::erase_if(timed_, [&](std::uint64_t number) {
    const auto found = connections_.find(number);
    if (found == connections_.end()) return true;
    Connection& connection = found->second;
    if (connection.state == State::kDraining) {
      if (now < connection.until) return false;
      end(number);
      return true;
    }
    if (reach(connection)) {
      carry(connection);
      return true;
    }
    if (now >= connection.until) refuse(connection);
    return false;
  });
}

}  // namespace mcpbox::box::init
