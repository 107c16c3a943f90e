// What proxy.cc and proxy_connect.cc share.
#pragma once

#include <boost/asio/local/stream_protocol.hpp>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "egress/control/stream.h"
#include "egress/proxy/proxy.h"
#include "egress/proxy/tunnel.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "sys/unix_listener.h"

namespace mcpbox::egress {

// Why a request is not served; becomes the answer and the audit record.
struct Refusal {
  unsigned status = 403;
  std::string message;   // for people, one line
  bool decision = true;  // false: it was allowed, but could not be done
};

struct Connected {
  Stream server;
  std::string address;
  std::string early;  // bytes that a further proxy sent after its answer
};

struct Proxy::Impl : std::enable_shared_from_this<Proxy::Impl> {
  Impl(boost::asio::any_io_executor e, ProxyOptions o, Registry& r, Destinations& d, AuditLog& a, sys::UnixListener l)
      : executor(e),
        options(std::move(o)),
        registry(r),
        destinations(d),
        audit(a),
        resolver(e, options.resolver),
        acceptor(e),
        listener(std::move(l)),
        accepting(e, "egress"),
        counting(e, "egress"),
        connections(e, "egress") {}

  // proxy.cc
  Task<void> accept();
  Task<void> serve(Stream client);
  Task<void> serve_request(Stream client, uid_t uid, std::string sandbox, ProxyRequest request, std::string early);
  Task<void> answer(Stream& client, unsigned status, std::string message);
  void end_tunnels_of(const Client* gone);
  void note(const AuditRecord& record);
  Task<void> write_counted();

  // proxy_connect.cc: a connection to an address that was judged, or to the further proxy.
  Task<std::expected<Connected, Refusal>> connect(const ProxyRequest& request, Trust trust, const std::string& asker);
  Task<std::expected<Connected, Refusal>> connect_to(std::vector<IpAddress> addresses, std::uint16_t port, bool judged,
                                                     Trust trust);
  Task<std::expected<Connected, Refusal>> connect_upstream(const ProxyRequest& request, const UpstreamProxy& upstream,
                                                           Trust trust, const std::string& asker);

  boost::asio::any_io_executor executor;
  ProxyOptions options;
  Registry& registry;
  Destinations& destinations;
  AuditLog& audit;
  Resolver resolver;
  boost::asio::local::stream_protocol::acceptor acceptor;
  sys::UnixListener listener;  // after the acceptor, so that the name goes before the socket
  net::TaskGroup accepting, counting, connections;
  bool counts = false;  // write_counted() runs
  std::size_t heads = 0;
  std::map<std::pair<uid_t, std::string>, std::size_t> heads_of;  // by user and sandbox
  struct Open {
    std::shared_ptr<Client> client;
    std::weak_ptr<Tunnel> tunnel;
  };
  std::map<const Tunnel*, Open> open;
};

}  // namespace mcpbox::egress
