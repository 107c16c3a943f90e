// What proxy.cc and proxy_connect.cc share.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <set>

#include "egress/proxy.h"
#include "egress/tunnel.h"
#include "net/task_group.h"
#include "net/wait.h"

namespace mcpbox::egress {

inline const auto kTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

// Cancels what waits on a socket when the time is up. The socket outlives it.
class Deadline {
 public:
  Deadline(Stream& socket, std::chrono::milliseconds limit)
      : timer_(socket.get_executor(), limit), state_(std::make_shared<bool>(false)) {
    timer_.async_wait([&socket, weak = std::weak_ptr(state_)](boost::system::error_code error) {
      const auto state = weak.lock();
      if (error || !state) return;
      *state = true;
      boost::system::error_code ignored;
      (void)socket.cancel(ignored);
    });
  }
  bool passed() const { return *state_; }

 private:
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> state_;
};

// Why a request is not served; becomes the answer and the audit record.
struct Refusal {
  unsigned status = 403;
  std::string message;   // for people, one line
  bool decision = true;  // false: it was allowed, but could not be done
};

struct Connected {
  Stream server;
  std::string address;
  std::string early;      // bytes that a further proxy sent after its answer
  bool absolute = false;  // a further proxy takes the request as it is
};

struct Proxy::Impl : std::enable_shared_from_this<Proxy::Impl> {
  Impl(boost::asio::any_io_executor e, ProxyOptions o, Registry& r, Destinations& d, AuditLog& a)
      : executor(e),
        options(std::move(o)),
        registry(r),
        destinations(d),
        audit(a),
        resolver(e, options.resolver),
        acceptor(e),
        accepting(e, "egress"),
        connections(e, "egress") {}

  // proxy.cc
  Task<void> accept();
  Task<void> serve(Stream client);
  Task<void> serve_request(Stream client, uid_t uid, ProxyRequest request, std::string early);
  Task<void> answer(Stream& client, unsigned status, std::string message);
  void end_tunnels_of(const Client* gone);

  // proxy_connect.cc: a connection to an address that was judged, or to the further proxy.
  Task<std::expected<Connected, Refusal>> connect(const ProxyRequest& request, Trust trust);
  Task<std::expected<Connected, Refusal>> connect_to(std::vector<IpAddress> addresses, std::uint16_t port, bool judged,
                                                     Trust trust);
  Task<std::expected<Connected, Refusal>> connect_upstream(const ProxyRequest& request, const UpstreamProxy& upstream,
                                                           Trust trust);

  boost::asio::any_io_executor executor;
  ProxyOptions options;
  Registry& registry;
  Destinations& destinations;
  AuditLog& audit;
  Resolver resolver;
  boost::asio::local::stream_protocol::acceptor acceptor;
  net::TaskGroup accepting, connections;
  std::size_t heads = 0;
  std::map<uid_t, std::size_t> heads_of;
  struct Open {
    std::shared_ptr<Client> client;
    std::weak_ptr<Tunnel> tunnel;
  };
  std::map<const Tunnel*, Open> open;
};

}  // namespace mcpbox::egress
