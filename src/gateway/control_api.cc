#include "gateway/control_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/http_text.h"
#include "base/text.h"
#include "gateway/answer.h"
#include "gateway/control_call.h"
#include "gateway/routes.h"
#include "gateway/views.h"
#include "net/wait.h"

namespace mcpbox::gateway {
namespace {

Task<void> send_status(ControlCall& call) {
  return answer(call.exchange, 200, status_json(call.context));
}

Task<void> send_servers(ControlCall& call) {
  return answer(call.exchange, 200, servers_json(call.context));
}

Task<void> wait_for_servers(ControlCall& call) {
  const auto timeout = call.number("timeout", 30);
  if (!timeout) co_return co_await refuse(call.exchange, timeout.error());
  const std::chrono::seconds limit(std::min<std::uint64_t>(*timeout, 3600));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (call.context.host == nullptr && std::chrono::steady_clock::now() < deadline)
    co_await net::sleep_for(std::chrono::milliseconds(50));
  if (call.context.host != nullptr) co_await call.context.host->settle(deadline);
  co_await send_servers(call);
}

Task<void> shut_down(ControlCall& call) {
  co_await answer(call.exchange, 202, "{\"stopping\":true}\n");
  call.context.request_shutdown();
}

enum class Body {
  kIgnored,
  kObject,    // application/json; `members` are all that it may have
  kOptional,  // the same, or none at all
};

struct Route {
  std::string_view method;
  std::string_view path;  // {server} is looked up before the handler runs
  Task<void> (*handler)(ControlCall&);
  std::vector<std::string> query;
  Body body = Body::kIgnored;
  std::vector<std::string> members;
  bool waits = false;   // for a server, as long as that likes
  bool urgent = false;  // answered when all usual connections are taken too
};

// Handlers that wait are fewer than connections (net::HttpServerOptions): whoever looks at the servers, stops one or
// ends the daemon gets in.
constexpr unsigned kMaxWaiting = 224;

const Route kRoutes[] = {
    {"GET", "/v1/status", send_status, {}, Body::kIgnored, {}, false, true},
    {"GET", "/v1/servers", send_servers, {}, Body::kIgnored, {}, false, true},
    {"GET", "/v1/wait", wait_for_servers, {"timeout"}, Body::kIgnored, {}, true},
    {"POST", "/v1/shutdown", shut_down, {}, Body::kIgnored, {}, false, true},
    {"GET", "/v1/servers/{server}/tools", send_tools, {}, Body::kIgnored, {}, true},
    {"POST", "/v1/servers/{server}/call", call_tool, {}, Body::kObject, {"tool", "arguments"}, true},
    {"GET", "/v1/servers/{server}/logs", send_logs, {"after", "follow"}, Body::kIgnored, {}, true},
    {"POST", "/v1/servers/{server}/restart", restart, {"fresh"}},
    {"POST", "/v1/servers/{server}/stop", stop, {}, Body::kIgnored, {}, false, true},
    {"POST", "/v1/servers/{server}/pull", pull, {}, Body::kOptional, {"of", "to", "dry_run", "force", "delete"}, true},
};

// nullopt when the parameters are those that the route has.
std::optional<Error> unknown_parameter(const Route& route, const net::ServedRequest& request) {
  for (const auto& [name, value] : request.query) {
    if (std::ranges::find(route.query, name) != route.query.end()) continue;
    return Error(Code::kInvalidArgument,
                 fmt::format("{} has no parameter '{}'{}{}", route.path, printable(name, 80),
                             route.query.empty() ? "" : "; there are: ", join(route.query, ", ")));
  }
  return std::nullopt;
}

// Media types are compared without case and without parameters (RFC 9110 §8.3.1).
bool is_json(std::string_view content_type) {
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  return equals_without_case(type, "application/json");
}

Task<void> dispatch(ControlContext& context, net::HttpExchange& exchange) {
  const net::ServedRequest& request = exchange.request();
  const auto found = find_route(std::span(kRoutes), request.method, request.path);
  if (found.row == nullptr) {
    if (found.allow.empty()) {
      co_return co_await refuse(
          exchange, Error(Code::kNotFound, "no such route; the control API is described in docs/control-api.md"));
    }
    exchange.set_field("Allow", found.allow);
    co_return co_await refuse(exchange, 405,
                              Error(Code::kInvalidArgument, fmt::format("this route takes {} only", found.allow)));
  }
  const Route& route = *found.row;
  if (request.crowded && !route.urgent) {
    exchange.set_field("Retry-After", "1");
    co_return co_await refuse(
        exchange, Error(Code::kUnavailable,
                        "all connections to the daemon are in use; try again when some have ended. `mcpbox ps`, `stop` "
                        "and `down` work meanwhile"));
  }
  if (const auto unknown = unknown_parameter(route, request)) co_return co_await refuse(exchange, *unknown);
  ControlCall call{context, exchange, nullptr, {}};
  if (!found.parameters.empty()) {
    if (context.host == nullptr)
      co_return co_await refuse(exchange, Error(Code::kUnavailable, "mcpbox is starting: it prepares the image"));
    auto server = context.host->find(found.parameters[0]);
    if (!server) co_return co_await refuse(exchange, server.error());
    call.server = *server;
  }
  if (route.body != Body::kIgnored) {
    // Without a body nothing needs to be said of its type.
    const bool may_be_absent = route.body == Body::kOptional && request.content_type.empty();
    if (!may_be_absent && !is_json(request.content_type))
      co_return co_await refuse(exchange, 415, Error(Code::kInvalidArgument, "send application/json"));
    auto text = co_await net::read_body(exchange);
    if (!text) co_return co_await refuse(exchange, net::status_of_body_error(text.error().code()), text.error());
    if (may_be_absent && !text->empty())
      co_return co_await refuse(exchange, 415, Error(Code::kInvalidArgument, "send application/json"));
    if (route.body == Body::kOptional && text->empty()) *text = "{}";
    auto body = BodyMembers::read(std::move(*text), route.members);
    if (!body) co_return co_await refuse(exchange, body.error());
    call.body = std::move(*body);
  }
  if (!route.waits) co_return co_await route.handler(call);
  if (context.waiting >= kMaxWaiting) {
    co_return co_await refuse(
        exchange, Error(Code::kResourceExhausted,
                        fmt::format("{} requests wait for servers already; try again when some have ended, or stop the "
                                    "server that they wait for",
                                    context.waiting)));
  }
  const Counted waiting(context.waiting);
  co_await route.handler(call);
}

}  // namespace

net::HttpHandler control_handler(ControlContext& context) {
  return [&context](net::HttpExchange& exchange) { return dispatch(context, exchange); };
}

}  // namespace mcpbox::gateway
