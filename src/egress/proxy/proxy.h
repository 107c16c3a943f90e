// The allow-list proxy: accepts on a unix socket, identifies the caller, decides, connects, and hands the rest to a
// Tunnel.
//
// Each connection begins with "MCPBOX1 <uid> <sandbox>\n", written by mcpbox-init's relay, which alone can open the
// socket from inside a sandbox; then comes one HTTP head. TLS is never ended here.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "base/result.h"
#include "egress/proxy/audit_log.h"
#include "egress/proxy/resolver.h"
#include "egress/rules/destination.h"
#include "egress/rules/registry.h"
#include "net/task.h"

namespace mcpbox::egress {

struct ProxyOptions {
  std::string socket_path;
  mode_t socket_mode =
      0600;  // mcpbox-init is root without privileges over files: it needs the owner's right or a wider mode
  // How long listen() waits for a proxy before this one that is about to end; it blocks the thread.
  std::chrono::milliseconds lock_patience{0};
  std::chrono::milliseconds head_timeout{10000};     // for preface and head together
  std::chrono::milliseconds connect_timeout{10000};  // per address
  std::chrono::milliseconds idle_timeout{120000};
  std::size_t max_tunnels = 2048;
  std::size_t max_tunnels_per_process = 32;
  std::size_t max_heads = 256;  // connections that have not been identified yet
  std::size_t max_heads_per_uid = 48;
  ResolverOptions resolver;
};

// Lives on one executor that one thread runs. registry, destinations and audit outlive it; registry.on_gone() is taken.
class Proxy {
 public:
  // Replaces a stale socket. kInvalidArgument for a path that is too long, kAlreadyExists when the path is no socket.
  static Result<std::unique_ptr<Proxy>> listen(boost::asio::any_io_executor executor, ProxyOptions options,
                                               Registry& registry, Destinations& destinations, AuditLog& audit);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  void start();
  // Ends every connection and removes the socket.
  Task<void> stop();
  std::size_t tunnels() const;

 private:
  struct Impl;
  explicit Proxy(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace mcpbox::egress
