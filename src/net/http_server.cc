#include "net/http_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>
#include <utility>

#include "base/errno_error.h"
#include "base/log.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "sys/unix_listener.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Stream = asio::local::stream_protocol::socket;

constexpr std::uint32_t kMaxHead = 16u << 10;
constexpr std::size_t kMaxTarget = 4u << 10;

const auto kTuple = asio::as_tuple(asio::use_awaitable);

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    const char byte = static_cast<char>(high * 16 + low);
    if (byte == '\0') return std::nullopt;
    out += byte;
    i += 2;
  }
  return out;
}

// Splits the target once; routing and authorisation look at the same parts. An encoded slash inside a segment is
// refused, so that no later decoding can change the path.
bool parse_target(std::string_view target, ServedRequest& request) {
  if (target.empty() || target.size() > kMaxTarget || target.front() != '/') return false;
  const std::size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  std::size_t begin = 1;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const auto segment = percent_decoded(path.substr(begin, end - begin));
    if (!segment || *segment == "." || *segment == ".." || segment->find('/') != std::string::npos) return false;
    if (segment->empty() && end != path.size()) return false;
    request.path += '/';
    request.path += *segment;
    begin = end + 1;
  }
  if (mark == std::string_view::npos) return true;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const auto name = percent_decoded(pair.substr(0, equals));
    const auto value = percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value || request.query.contains(*name)) return false;
    request.query[*name] = *value;
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return true;
}

class StreamResponder final : public Responder {
 public:
  StreamResponder(Stream& stream, bool keep_alive) : stream_(stream), keep_alive_(keep_alive) {}

  Task<Result<void>> send(unsigned status, std::string content_type, std::string body) override {
    answered_ = true;
    http::response<http::string_body> response{static_cast<http::status>(status), 11};
    response.set(http::field::content_type, content_type);
    response.body() = std::move(body);
    response.keep_alive(keep_alive_);
    response.prepare_payload();
    auto [error, size] = co_await http::async_write(stream_, response, kTuple);
    co_return outcome(error);
  }

  Task<Result<void>> begin(unsigned status, std::string content_type) override {
    answered_ = true;
    http::response<http::empty_body> response{static_cast<http::status>(status), 11};
    response.set(http::field::content_type, content_type);
    response.keep_alive(keep_alive_);
    response.chunked(true);
    http::response_serializer<http::empty_body> serializer{response};
    auto [error, size] = co_await http::async_write_header(stream_, serializer, kTuple);
    co_return outcome(error);
  }

  Task<Result<void>> write(std::string chunk) override {
    if (chunk.empty()) co_return Result<void>{};
    auto [error, size] = co_await asio::async_write(stream_, http::make_chunk(asio::buffer(chunk)), kTuple);
    co_return outcome(error);
  }

  Task<Result<void>> end() override {
    auto [error, size] = co_await asio::async_write(stream_, http::make_chunk_last(), kTuple);
    co_return outcome(error);
  }

  bool answered() const { return answered_; }
  bool broken() const { return broken_; }

 private:
  Result<void> outcome(const boost::system::error_code& error) {
    if (!error) return {};
    broken_ = true;
    return fail(Code::kUnavailable, fmt::format("the client went away: {}", error.message()));
  }

  Stream& stream_;
  bool keep_alive_;
  bool answered_ = false;
  bool broken_ = false;
};

// Returns when nobody can take an answer any more. Reading would not tell: a client may shut its writing side down
// after its request and still wait for the answer, and what it sends meanwhile belongs to its next request.
Task<void> until_gone(Stream& stream) {
  for (;;) {
    co_await stream.async_wait(Stream::wait_error, asio::use_awaitable);
    pollfd now{stream.native_handle(), 0, 0};
    if (::poll(&now, 1, 0) != 0) co_return;
    co_await sleep_for(std::chrono::seconds(1));  // urgent data (MSG_OOB) wakes the wait as well, again and again
  }
}

// Runs `handler`; cancels it when the client goes away meanwhile. True when the handler came to its end.
Task<bool> while_connected(Stream& stream, Task<void> handler) {
  auto executor = co_await asio::this_coro::executor;
  auto [order, failure, lost] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(handler), asio::deferred),
                                                       asio::co_spawn(executor, until_gone(stream), asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] != 0) co_return false;
  if (failure) std::rethrow_exception(failure);
  co_return true;
}
}  // namespace

struct HttpServer::Impl {
  asio::any_io_executor executor;
  HttpServerOptions options;
  HttpHandler handler;
  asio::local::stream_protocol::acceptor acceptor;
  sys::UnixListener listener;  // after the acceptor, so that the name goes before the socket
  TaskGroup connections;
  TaskGroup accepting;
  Signal slot_free;

  Impl(asio::any_io_executor e, HttpServerOptions o, HttpHandler h, sys::UnixListener l)
      : executor(e),
        options(std::move(o)),
        handler(std::move(h)),
        acceptor(e),
        listener(std::move(l)),
        connections(e, "http"),
        accepting(e, "http"),
        slot_free(e) {}

  Task<void> accept() {
    for (;;) {
      while (connections.running() >= options.max_connections) co_await slot_free.wait();
      auto [error, socket] = co_await acceptor.async_accept(kTuple);
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
      if (error) {
        // Out of descriptors, most likely: accepting again at once would spin.
        log::warning("http", "accept: {}", error.message());
        co_await sleep_for(std::chrono::milliseconds(200));
        continue;
      }
      connections.spawn("connection", serve(std::move(socket)));
    }
  }

  Task<void> serve(Stream stream) {
    struct Freed {
      Signal& signal;
      ~Freed() { signal.notify(); }
    } const freed{slot_free};
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(stream.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) co_return;
    const bool welcome = peer.uid == ::geteuid() || peer.uid == 0;

    boost::beast::flat_buffer buffer;
    for (;;) {
      http::request_parser<http::string_body> parser;
      parser.header_limit(kMaxHead);
      parser.body_limit(options.max_body);
      auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kTuple);
      if (error == http::error::end_of_stream) co_return;
      if (error) {
        StreamResponder refuse(stream, false);
        if (error == http::error::body_limit)
          (void)co_await refuse.send(413, "text/plain", "the request body is too large\n");
        if (error == http::error::header_limit)
          (void)co_await refuse.send(431, "text/plain", "the request head is too large\n");
        co_return;
      }
      auto message = parser.release();
      ServedRequest request;
      request.peer_uid = peer.uid;
      request.method = std::string(message.method_string());
      request.content_type = std::string(message[http::field::content_type]);
      request.body = std::move(message.body());
      const bool keep = message.keep_alive();
      StreamResponder responder(stream, keep && welcome);
      if (!welcome) {
        (void)co_await responder.send(403, "text/plain", "this socket belongs to another user\n");
        co_return;
      }
      if (!parse_target(std::string_view(message.target().data(), message.target().size()), request)) {
        (void)co_await responder.send(400, "text/plain", "the request target cannot be read\n");
        co_return;
      }
      if (!co_await while_connected(stream, handler(std::move(request), responder))) co_return;
      if (!responder.answered()) (void)co_await responder.send(500, "text/plain", "no answer was made\n");
      if (!keep || responder.broken()) co_return;
    }
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::any_io_executor executor, HttpServerOptions options,
                                                       HttpHandler handler) {
  sys::ListenOptions listening;
  listening.path = options.socket_path;
  auto listener = sys::UnixListener::listen(listening);
  if (!listener) return fail(std::move(listener).error());
  auto impl = std::make_unique<Impl>(executor, std::move(options), std::move(handler), std::move(*listener));
  boost::system::error_code error;
  UniqueFd socket = impl->listener.take_socket();
  (void)impl->acceptor.assign(asio::local::stream_protocol(), socket.get(), error);
  if (error) return fail(Code::kInternal, fmt::format("cannot watch {}: {}", listening.path, error.message()));
  (void)socket.release();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::start() {
  impl_->accepting.spawn("accept", impl_->accept());
}

Task<void> HttpServer::stop() {
  impl_->listener.remove();  // first: its socket must still be open
  boost::system::error_code ignored;
  (void)impl_->acceptor.close(ignored);
  co_await impl_->accepting.stop();
  co_await impl_->connections.stop();
}

}  // namespace mcpbox::net
