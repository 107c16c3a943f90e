#include "net/socket_stream.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <utility>

#include "net/wait.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
const auto kTuple = asio::as_tuple(asio::use_awaitable);

int family_of(int socket) {
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family;
}

void set(int socket, int level, int name, int value) {
  // A socket that refuses one works all the same.
  (void)::setsockopt(socket, level, name, &value, sizeof value);
}

class SocketStream final : public ByteStream {
 public:
  SocketStream(asio::any_io_executor executor, UniqueFd socket)
      : peer_(peer_of(socket.get())),
        means_(is_unix(socket.get()) ? EndMeans::kHalfClosed : EndMeans::kAsk),
        socket_(adopt_socket(std::move(executor), std::move(socket))) {}

  Task<Result<std::size_t>> read_some(std::span<char> into) override {
    auto [error, size] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), kTuple);
    co_return read_outcome(error, size);
  }
  Task<Result<void>> write(std::string_view first, std::string_view second, std::string_view third) override {
    const std::array pieces{asio::buffer(first), asio::buffer(second), asio::buffer(third)};
    auto [error, size] = co_await asio::async_write(socket_, pieces, kTuple);
    co_return write_outcome(error);
  }
  Task<void> until_gone() override { return until_hung_up(socket_); }
  void send_now(std::string_view few) override {
    const ssize_t sent = ::send(socket_.native_handle(), few.data(), few.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0 && static_cast<std::size_t>(sent) < few.size()) close();  // half of it would garble what follows
  }
  Task<void> shut_down_write() override {
    boost::system::error_code ignored;
    (void)socket_.shutdown(PlainSocket::shutdown_send, ignored);
    co_return;
  }
  void close() override {
    boost::system::error_code ignored;
    (void)socket_.close(ignored);
  }
  EndMeans end_means() const override { return means_; }
  const Peer& peer() const override { return peer_; }

 private:
  Peer peer_;
  EndMeans means_;
  PlainSocket socket_;
};

}  // namespace

bool is_unix(int socket) {
  return family_of(socket) == AF_UNIX;
}

Peer peer_of(int socket) {
  Peer peer;
  if (is_unix(socket)) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) peer.uid = credentials.uid;
    return peer;
  }
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return peer;
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    peer.address = asio::ip::address_v4(ntohl(four.sin_addr.s_addr)).to_string();
  } else if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    asio::ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
    const asio::ip::address_v6 parsed(bytes);
    // What listens on "::" gets IPv4 clients so; a list of addresses means them by their own name.
    peer.address =
        parsed.is_v4_mapped() ? asio::ip::make_address_v4(asio::ip::v4_mapped, parsed).to_string() : parsed.to_string();
  }
  return peer;
}

PlainSocket adopt_socket(asio::any_io_executor executor, UniqueFd socket) {
  const int family = family_of(socket.get());
  if (family != AF_UNIX) {
    set(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    set(socket.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
    set(socket.get(), IPPROTO_TCP, TCP_KEEPIDLE, 60);  // seconds
    set(socket.get(), IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set(socket.get(), IPPROTO_TCP, TCP_KEEPCNT, 4);
  }
  PlainSocket out(std::move(executor));
  boost::system::error_code failed;
  (void)out.assign(asio::generic::stream_protocol(family, family == AF_UNIX ? 0 : IPPROTO_TCP), socket.get(), failed);
  if (!failed) (void)socket.release();
  return out;
}

Task<void> until_hung_up(PlainSocket& socket) {
  for (;;) {
    auto [error] = co_await socket.async_wait(PlainSocket::wait_error, kTuple);
    if (error) co_return;
    pollfd now{socket.native_handle(), 0, 0};
    if (::poll(&now, 1, 0) != 0) co_return;
    co_await sleep_for(std::chrono::seconds(1));  // urgent data (MSG_OOB) wakes the wait as well, again and again
  }
}

Result<std::size_t> read_outcome(const boost::system::error_code& error, std::size_t size) {
  if (size > 0) return size;
  if (error == asio::error::eof) return std::size_t{0};
  return fail(Code::kUnavailable, fmt::format("the peer went away: {}", error.message()));
}

Result<void> write_outcome(const boost::system::error_code& error) {
  if (!error) return {};
  return fail(Code::kUnavailable, fmt::format("the peer went away: {}", error.message()));
}

std::unique_ptr<ByteStream> socket_stream(asio::any_io_executor executor, UniqueFd socket) {
  return std::make_unique<SocketStream>(std::move(executor), std::move(socket));
}

Task<Result<std::size_t>> PrefixedStream::read_some(std::span<char> into) {
  if (used_ == prefix_.size()) co_return co_await stream_.read_some(into);
  const std::size_t size = std::min(into.size(), prefix_.size() - used_);
  std::memcpy(into.data(), prefix_.data() + used_, size);
  used_ += size;
  co_return size;
}

}  // namespace mcpbox::net
