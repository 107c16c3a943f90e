#include "net/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <utility>

#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/http_connection.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "sys/unix_listener.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

// How long every client may take for its request, however many others wait: what it sent may not be read yet.
constexpr std::chrono::seconds kFair{1};

const auto kTuple = asio::as_tuple(asio::use_awaitable);

Result<UniqueFd> bind_tcp(const TcpPlace& place, std::uint16_t& port) {
  boost::system::error_code wrong;
  const auto address = asio::ip::make_address(place.address, wrong);
  if (wrong) return fail(Code::kInvalidArgument, printable(place.address, 80) + " is no numeric address");
  asio::ip::tcp::endpoint endpoint(address, place.port);
  UniqueFd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
    return fail(errno_error(errno, "make a TCP socket"));
  if (::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return fail(errno_error(errno, fmt::format("listen on {}, port {}", place.address, place.port)));
  socklen_t size = static_cast<socklen_t>(endpoint.capacity());
  if (::getsockname(fd.get(), endpoint.data(), &size) != 0) return fail(errno_error(errno, "read the port"));
  port = endpoint.port();
  return fd;
}
}  // namespace

struct HttpServer::Impl {
  asio::any_io_executor executor;
  HttpServerOptions options;
  std::uint64_t unfinished = 0;  // bytes of all bodies that have not come to their end; outlives the connections
  HttpHandler handler;
  std::unique_ptr<TlsIdentity> tls;
  std::uint16_t port = 0;
  std::list<HttpConnection> open;
  Acceptor acceptor;
  std::optional<sys::UnixListener> listener;  // after the acceptor, so that the name goes before the socket
  TaskGroup connections;
  TaskGroup accepting;
  Signal slot_free;

  Impl(asio::any_io_executor e, HttpServerOptions o, HttpHandler h)
      : executor(e),
        options(o),
        handler(std::move(h)),
        acceptor(e),
        connections(e, "http"),
        accepting(e, "http"),
        slot_free(e) {}

  Result<void> watch(UniqueFd socket, int family) {
    boost::system::error_code error;
    (void)acceptor.assign(asio::generic::stream_protocol(family, 0), socket.get(), error);
    if (error) return fail(Code::kInternal, fmt::format("cannot watch the socket: {}", error.message()));
    (void)socket.release();
    return {};
  }

  Task<void> accept() {
    for (;;) {
      if (open.size() >= options.max_connections) {
        (void)co_await acceptor.async_wait(Acceptor::wait_read, kTuple);
        while (open.size() >= options.max_connections && (make_room() || no_place())) {
          (void)co_await slot_free.wait_until(Clock::now() + std::chrono::milliseconds(100));
        }
      }
      auto [error, accepted] = co_await acceptor.async_accept(kTuple);
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
      if (error) {
        // Out of descriptors, most likely: accepting again at once would spin.
        log::warning("http", "accept: {}", error.message());
        co_await sleep_for(std::chrono::milliseconds(200));
        continue;
      }
      UniqueFd socket(accepted.release());
      open.emplace_back(executor, options, unfinished, handler, open.size() >= options.max_connections);
      connections.spawn("connection", serve(std::prev(open.end()), std::move(socket)));
    }
  }

  bool no_place() const { return open.size() >= options.max_connections + options.reserved; }

  // Ends the connection that has waited longest for its client's request, where one has waited long enough; with no
  // place left also the one that has waited longest for its client to take the answer.
  bool make_room() {
    if (end_longest(&HttpConnection::waiting_since, kFair)) return true;
    return no_place() && end_longest(&HttpConnection::writing_since, options.crowded_timeout);
  }

  bool end_longest(std::optional<HttpConnection::TimePoint> (HttpConnection::*since)() const,
                   std::chrono::milliseconds fair) {
    HttpConnection* longest = nullptr;
    for (HttpConnection& connection : open) {
      const auto begun = (connection.*since)();
      if (begun && (longest == nullptr || *begun < *(longest->*since)())) longest = &connection;
    }
    if (longest == nullptr || Clock::now() - *(longest->*since)() < fair) return false;
    longest->abort();
    return true;
  }

  Task<void> serve(std::list<HttpConnection>::iterator self, UniqueFd socket) {
    struct Closed {
      Impl& impl;
      std::list<HttpConnection>::iterator self;
      ~Closed() {
        impl.open.erase(self);
        impl.slot_free.notify();
      }
    } const closed{*this, self};
    co_await self->run(std::move(socket), tls.get());
  }

  // Ends connections whose client takes nothing of an answer.
  Task<void> sweep() {
    for (;;) {
      co_await sleep_for(std::max(options.write_timeout / 4, std::chrono::milliseconds(1)));
      for (HttpConnection& connection : open) {
        const auto since = connection.writing_since();
        if (since && Clock::now() - *since > options.write_timeout) connection.abort();
      }
    }
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::any_io_executor executor, UnixPlace place,
                                                       HttpServerOptions options, HttpHandler handler) {
  sys::ListenOptions listening;
  listening.path = std::move(place.path);
  auto listener = sys::UnixListener::listen(listening);
  if (!listener) return fail(std::move(listener).error());
  auto impl = std::make_unique<Impl>(std::move(executor), options, std::move(handler));
  impl->listener.emplace(std::move(*listener));
  if (auto watched = impl->watch(impl->listener->take_socket(), AF_UNIX); !watched)
    return fail(std::move(watched).error());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::any_io_executor executor, TcpPlace place,
                                                       HttpServerOptions options, HttpHandler handler) {
  auto impl = std::make_unique<Impl>(std::move(executor), options, std::move(handler));
  if (place.tls) {
    auto tls = TlsIdentity::load(*place.tls);
    if (!tls) return fail(std::move(tls).error());
    impl->tls = std::move(*tls);
  }
  auto socket = bind_tcp(place, impl->port);
  if (!socket) return fail(std::move(socket).error());
  const int family = place.address.contains(':') ? AF_INET6 : AF_INET;
  if (auto watched = impl->watch(std::move(*socket), family); !watched) return fail(std::move(watched).error());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::start() {
  impl_->accepting.spawn("accept", impl_->accept());
  impl_->accepting.spawn("sweep", impl_->sweep());
}

std::uint16_t HttpServer::port() const {
  return impl_->port;
}

std::size_t HttpServer::connections() const {
  return impl_->open.size();
}

Result<void> HttpServer::reload_certificate() {
  if (!impl_->tls) return fail(Code::kFailedPrecondition, "this server has no certificate");
  return impl_->tls->reload();
}

Task<void> HttpServer::drain(Clock::time_point deadline) {
  if (impl_->listener) impl_->listener->remove();  // first: its socket must still be open
  boost::system::error_code ignored;
  (void)impl_->acceptor.close(ignored);
  for (HttpConnection& connection : impl_->open) connection.drain();
  while (!impl_->open.empty() && Clock::now() < deadline) (void)co_await impl_->slot_free.wait_until(deadline);
  co_await impl_->accepting.stop();
  co_await impl_->connections.stop();
}

Task<void> HttpServer::stop() {
  co_await drain(Clock::time_point::min());
}

}  // namespace mcpbox::net
