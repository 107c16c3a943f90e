// One connection of an HttpServer: reads requests, runs the handler, watches the client meanwhile. Internal to net/.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "net/http_input.h"
#include "net/http_server.h"
#include "net/served_exchange.h"

namespace mcpbox::net {

class HttpConnection {
 public:
  using TimePoint = HttpInput::TimePoint;

  // `unfinished`: ServedExchange's. `crowded`: ServedRequest's.
  HttpConnection(boost::asio::any_io_executor executor, const HttpServerOptions& options, std::uint64_t& unfinished,
                 const HttpHandler& handler, bool crowded)
      : executor_(std::move(executor)),
        options_(options),
        unfinished_(unfinished),
        handler_(handler),
        crowded_(crowded),
        handshake_limit_(executor_),
        since_(std::chrono::steady_clock::now()) {}

  // Serves requests on an accepted socket until the client goes away, a time is up, or drain() and abort() say so. With
  // `tls` a handshake comes first.
  Task<void> run(UniqueFd socket, TlsIdentity* tls);

  // Since when it has waited for its client: for a whole request head, or for more of a body. nullopt while a request
  // is served.
  std::optional<TimePoint> waiting_since() const;
  std::optional<TimePoint> writing_since() const;
  // Ends once the request that is being served is answered; at once where there is none.
  void drain();
  // Ends at once.
  void abort();

 private:
  Task<void> shake_hands(UniqueFd socket, TlsIdentity& tls);
  Task<void> receive();
  Task<void> notice_end();
  Task<void> serve();
  Task<bool> serve_one();
  Task<bool> read_head(RequestReader& reader);
  Task<void> refuse(const WireError& error);
  Task<void> linger();

  boost::asio::any_io_executor executor_;
  const HttpServerOptions& options_;
  std::uint64_t& unfinished_;
  const HttpHandler& handler_;
  const bool crowded_;
  std::unique_ptr<ByteStream> stream_;
  boost::asio::steady_timer handshake_limit_;
  std::optional<HttpInput> input_;
  ServedExchange* exchange_ = nullptr;  // while the handler runs
  std::optional<TimePoint> refusing_since_;
  TimePoint since_;
  bool serving_ = false, draining_ = false, aborted_ = false;
};

}  // namespace mcpbox::net
