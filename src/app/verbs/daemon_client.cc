#include "app/verbs/daemon_client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "app/compose/paths.h"
#include "base/text.h"
#include "net/wait.h"
#include "sys/socket_owner.h"

namespace mcpbox::app {
namespace {

Code code_of_name(std::string_view name) {
  for (const Code code : {Code::kInvalidArgument, Code::kNotFound, Code::kAlreadyExists, Code::kPermissionDenied,
                          Code::kUnauthenticated, Code::kResourceExhausted, Code::kFailedPrecondition, Code::kAborted,
                          Code::kUnavailable, Code::kTimeout, Code::kCancelled, Code::kDataLoss, Code::kUnsupported}) {
    if (code_name(code) == name) return code;
  }
  return Code::kInternal;
}

// What is to be said beyond that nobody answers: the library's text speaks of a host and a port that there are not.
std::string why_nobody_answers(const std::string& socket, const Error& error) {
  if (error.message().find("Failed to connect") == std::string::npos) return error.message();
  if (::access(socket.c_str(), F_OK) != 0) return errno == ENOENT ? "" : std::strerror(errno);
  if (::access(socket.c_str(), W_OK) != 0) return std::strerror(errno);
  return "nobody serves this socket any more";
}

// Daemons of other users have sockets in folders that only they can enter, so nobody can tell whether one runs.
std::string other_users_daemon(const std::string& socket) {
  if (socket != default_socket()) return {};
  return " (a daemon that another user started answers that user only)";
}

Error not_ours(const std::string& socket, const Error& why) {
  return {why.code(), fmt::format("the socket {} is not trusted, and nothing was sent: {}. A daemon of yours (`mcpbox "
                                  "serve`) listens in a folder that only you can write: --socket, MCPBOX_SOCKET or "
                                  "MCPBOX_RUN_DIR names another",
                                  printable(socket), why.message())};
}

}  // namespace

Task<Result<std::string>> DaemonClient::get(std::string path, std::chrono::milliseconds timeout) {
  net::HttpRequest request;
  request.url = "http://mcpbox" + path;
  request.total_timeout = timeout;
  co_return co_await send(std::move(request));
}

Task<Result<std::string>> DaemonClient::post(std::string path, std::string json_body,
                                             std::chrono::milliseconds timeout) {
  net::HttpRequest request;
  request.method = "POST";
  request.url = "http://mcpbox" + path;
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(json_body);
  request.total_timeout = timeout;
  request.own_connection = true;  // a call must not be repeated
  co_return co_await send(std::move(request));
}

Task<Result<void>> DaemonClient::stream(std::string path, std::function<Result<void>(std::string_view)> on_bytes) {
  net::HttpRequest request;
  request.url = "http://mcpbox" + path;
  request.total_timeout = std::chrono::milliseconds(0);
  request.max_body_bytes = 0;
  request.on_body = std::move(on_bytes);
  auto body = co_await send(std::move(request));
  if (!body) co_return fail(std::move(body).error());
  co_return Result<void>{};
}

// Ends when the daemon does not answer.
Task<Result<void>> DaemonClient::until_mute() {
  for (;;) {
    co_await net::sleep_for(liveness_.every);
    net::HttpRequest request;
    request.url = "http://mcpbox/v1/status";
    request.unix_socket = socket_;
    request.own_unix_socket = true;
    request.total_timeout = liveness_.patience;
    const auto answer = co_await client_.fetch(std::move(request));
    if (answer || answer.error().code() != Code::kTimeout) continue;  // a connection that broke ends the request itself
    co_return fail(Code::kTimeout,
                   fmt::format("the daemon on {} does not answer any more; its log may say why, and SIGKILL ends it",
                               printable(socket_)));
  }
}

Task<Result<net::HttpResponse>> DaemonClient::fetch(net::HttpRequest request) {
  if (request.total_timeout.count() > 0) co_return co_await client_.fetch(std::move(request));
  namespace asio = boost::asio;
  auto executor = co_await asio::this_coro::executor;
  auto [order, thrown, response, watching_thrown, mute] =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(executor, client_.fetch(std::move(request)), asio::deferred),
          asio::co_spawn(executor, until_mute(), asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] == 0 && thrown) std::rethrow_exception(thrown);
  if (order[0] == 0) co_return std::move(response);
  if (watching_thrown || mute) co_return fail(Code::kCancelled, "the request was cancelled");
  co_return fail(std::move(mute).error());
}

Task<Result<std::string>> DaemonClient::send(net::HttpRequest request) {
  no_daemon_ = false;
  status_ = 0;
  if (auto ours = sys::check_socket_place(socket_); !ours) co_return fail(not_ours(socket_, ours.error()));
  request.unix_socket = socket_;
  request.own_unix_socket = true;
  if (request.max_body_bytes != 0) request.max_body_bytes = 64u << 20;
  auto response = co_await fetch(std::move(request));
  status_ = response ? static_cast<unsigned>(response->status) : 0;
  if (!response) {
    cancelled_ = cancelled_ || response.error().code() == Code::kCancelled;
    if (response.error().code() == Code::kPermissionDenied) co_return fail(not_ours(socket_, response.error()));
    no_daemon_ = response.error().code() == Code::kUnavailable;
    if (!no_daemon_) co_return fail(std::move(response).error());
    std::string why = why_nobody_answers(socket_, response.error());
    if (!why.empty()) why = " (" + why + ")";
    co_return fail(Code::kUnavailable,
                   fmt::format("no mcpbox daemon answers on {}{}; start one with `mcpbox serve --config FILE`{}",
                               socket_, why, other_users_daemon(socket_)));
  }
  if (response->status >= 200 && response->status < 300) co_return std::move(response->body);
  auto parsed = json::Value::parse(response->body);
  if (parsed && (*parsed)["error"]["message"].is_string()) {
    co_return fail(code_of_name((*parsed)["error"]["code"].string_or()), (*parsed)["error"]["message"].string_or());
  }
  co_return fail(Code::kInternal,
                 fmt::format("the daemon answered {}: {}", response->status, response->body.substr(0, 200)));
}

}  // namespace mcpbox::app
