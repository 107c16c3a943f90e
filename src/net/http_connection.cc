#include "net/http_connection.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

#include "base/http_text.h"
#include "base/log.h"
#include "net/http_target.h"
#include "net/wait.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

// After an answer that ends the connection, for what the client still sends: closing at once would reset the
// connection, and the answer could be lost with it (RFC 9112 §9.6).
constexpr std::chrono::seconds kLinger{1};
constexpr std::size_t kMaxLingered = 8u << 20;
// How long a handler runs before a TCP client whose end came is asked whether it is still there.
constexpr std::chrono::seconds kAskAfter{1};
constexpr std::chrono::seconds kAskAgain{15};

bool is_chunked(std::string_view coding) {
  return equals_without_case(coding, "chunked");
}

Task<void> forever() {
  co_await sleep_for(std::chrono::hours(24 * 365));
}

}  // namespace

std::optional<HttpConnection::TimePoint> HttpConnection::waiting_since() const {
  if (serving_) return exchange_ != nullptr ? exchange_->reading_since() : std::nullopt;
  return since_;
}

std::optional<HttpConnection::TimePoint> HttpConnection::writing_since() const {
  return exchange_ != nullptr ? exchange_->writing_since() : refusing_since_;
}

void HttpConnection::drain() {
  draining_ = true;
  if (exchange_ != nullptr) {
    exchange_->close_afterwards();
  } else if (input_ && !serving_ && input_->data().empty()) {
    input_->give_up();
  }
}

void HttpConnection::abort() {
  aborted_ = true;
  handshake_limit_.cancel();
  if (stream_) stream_->close();
  if (input_) input_->give_up();
}

Task<void> HttpConnection::shake_hands(UniqueFd socket, TlsIdentity& tls) {
  handshake_limit_.expires_after(options_.head_timeout);
  auto [order, thrown, made, timer] =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(executor_, tls.accept(executor_, std::move(socket)), asio::deferred),
          handshake_limit_.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] != 0 || thrown) co_return;
  if (!made) {
    log::debug("http", "{}", made.error().message());
    co_return;
  }
  stream_ = std::move(*made);
}

Task<void> HttpConnection::run(UniqueFd socket, TlsIdentity* tls) {
  if (tls != nullptr) {
    co_await shake_hands(std::move(socket), *tls);
  } else {
    stream_ = socket_stream(executor_, std::move(socket));
  }
  if (!stream_ || aborted_) co_return;
  input_.emplace(executor_, *stream_);
  auto [order, received, noticed, served] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(executor_, receive(), asio::deferred),
                                                       asio::co_spawn(executor_, notice_end(), asio::deferred),
                                                       asio::co_spawn(executor_, serve(), asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] == 2 && served) std::rethrow_exception(served);
}

// Returns when the client is gone as far as reading tells, and with it ends the connection.
Task<void> HttpConnection::receive() {
  co_await input_->run();
  if (!input_->broken() && stream_->end_means() != EndMeans::kGone) {
    // It may have shut its writing side down only. Whether it reads on, TCP says when something is sent.
    for (auto pause = kAskAfter; stream_->end_means() == EndMeans::kAsk; pause = kAskAgain) {
      co_await sleep_for(pause);
      if (exchange_ != nullptr && exchange_->may_ask()) stream_->send_now("HTTP/1.1 100 Continue\r\n\r\n");
    }
    co_await forever();
  }
  if (exchange_ != nullptr && exchange_->upgraded()) co_await forever();
}

Task<void> HttpConnection::notice_end() {
  co_await stream_->until_gone();
  // What an upgraded client sent before it closed is still to be read.
  if (exchange_ != nullptr && exchange_->upgraded()) co_await forever();
}

Task<void> HttpConnection::serve() {
  while (co_await serve_one()) {
    since_ = Clock::now();
    serving_ = false;
  }
}

Task<void> HttpConnection::refuse(const WireError& error) {
  serving_ = true;
  ReplyHead head;
  head.status = error.status;
  head.content_type = "text/plain";
  head.length = error.text.size() + 1;
  head.keep_alive = false;
  const std::string text = write_head(head) + error.text + "\n";
  refusing_since_ = Clock::now();
  const auto written = co_await stream_->write(text);
  refusing_since_.reset();
  if (written) co_await linger();
}

Task<void> HttpConnection::linger() {
  co_await stream_->shut_down_write();
  const auto until = Clock::now() + kLinger;
  std::size_t seen = 0;
  for (;;) {
    seen += input_->data().size();
    input_->consume(input_->data().size());
    if (input_->ended() || seen > kMaxLingered || !co_await input_->more(until)) co_return;
  }
}

// True when `reader` has a whole head; otherwise the connection is over, and the client was told.
Task<bool> HttpConnection::read_head(RequestReader& reader) {
  auto deadline = Clock::now() + options_.idle_timeout;
  bool begun = false;
  for (;;) {
    if (!begun && !input_->data().empty()) {
      begun = true;
      deadline = Clock::now() + options_.head_timeout;
    }
    const auto step = reader.read_head(input_->data());
    if (!step) {
      co_await refuse(step.error());
      co_return false;
    }
    input_->consume(step->used);
    if (reader.head_done()) co_return true;
    if (!begun && draining_) co_return false;
    if (co_await input_->more(deadline)) continue;
    if (begun && !input_->ended() && !aborted_ && Clock::now() >= deadline)
      co_await refuse({408, "the request head comes too slowly"});
    co_return false;
  }
}

// True when the connection goes on with another request.
Task<bool> HttpConnection::serve_one() {
  RequestReader reader;
  if (!co_await read_head(reader)) co_return false;
  serving_ = true;
  ServedRequest request;
  reader.describe(request);
  request.peer = stream_->peer();
  request.crowded = crowded_;
  std::optional<WireError> wrong;
  // RFC 9112 §3.2
  if (request.count("host") > 1 || (!reader.http_1_0() && request.count("host") == 0))
    wrong = WireError{400, "a request names one host"};
  // RFC 9112 §6.1, §6.3: a body whose end two readers could see at two places, or whose coding nobody undoes.
  if (const std::size_t codings = request.count("transfer-encoding"); codings > 0) {
    if (codings > 1 || !is_chunked(request.field("transfer-encoding")))
      wrong = WireError{501, "of transfer codings only chunked is understood"};
    if (request.count("content-length") > 0) wrong = WireError{400, "a body has a length or is chunked, not both"};
  }
  if (!parse_target(reader.target(), request)) wrong = WireError{400, "the request target cannot be read"};
  if (request.peer.uid && *request.peer.uid != ::geteuid() && *request.peer.uid != 0)
    wrong = WireError{403, "this socket belongs to another user"};
  if (wrong) {
    co_await refuse(*wrong);
    co_return false;
  }
  ServedExchange exchange(*stream_, *input_, reader, options_, unfinished_, std::move(request),
                          reader.keep_alive() && !draining_ && !crowded_);
  struct Handling {
    HttpConnection& self;
    ~Handling() {
      self.exchange_ = nullptr;
      self.input_->watch(false);
    }
  } const handling{*this};
  exchange_ = &exchange;
  // The stream that an upgrade hands out must not have a read of ours in it.
  if (reader.done() && !reader.asks_for_upgrade()) input_->watch(true);
  co_await handler_(exchange);
  const bool goes_on = co_await exchange.finish() && !input_->broken();
  if (!goes_on && !exchange.upgraded()) co_await linger();
  co_return goes_on;
}

}  // namespace mcpbox::net
