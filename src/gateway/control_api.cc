#include "gateway/control_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"

namespace mcpbox::gateway {
namespace {

using Json = nlohmann::ordered_json;
using hosting::Server;
using net::Responder;
using net::ServedRequest;

unsigned status_of(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return 400;
    case Code::kUnauthenticated:
      return 401;
    case Code::kPermissionDenied:
      return 403;
    case Code::kNotFound:
      return 404;
    case Code::kAlreadyExists:
    case Code::kAborted:
    case Code::kFailedPrecondition:
      return 409;
    case Code::kResourceExhausted:
      return 429;
    case Code::kCancelled:
      return 499;
    case Code::kUnsupported:
      return 501;
    case Code::kUnavailable:
      return 503;
    case Code::kTimeout:
      return 504;
    case Code::kDataLoss:
      return 502;
    case Code::kInternal:
      return 500;
  }
  return 500;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Task<void> refuse(Responder& out, const Error& error) {
  const Json body = {{"error", {{"code", code_name(error.code())}, {"message", error.message()}}}};
  (void)co_await out.send(status_of(error.code()), "application/json", dump(body));
}

Json to_json(const hosting::ServerView& view) {
  Json phases = Json::array();
  for (const hosting::PhaseTime& phase : view.phases) {
    phases.push_back({{"phase", provision::name_of(phase.phase)}, {"ms", phase.duration.count()}});
  }
  return {{"name", view.name},
          {"state", hosting::name_of(view.state)},
          {"phase", provision::name_of(view.phase)},
          {"error", view.error},
          {"sandbox", view.sandbox},
          {"process", view.process},
          {"pid", view.pid},
          {"uid", view.uid},
          {"restarts", view.restarts},
          {"tools", view.tool_count},
          {"server", {{"name", view.server_name}, {"version", view.server_version}}},
          {"environment", view.environment},
          {"packages", view.packages},
          {"network", view.network},
          {"protocol_version", view.protocol_version},
          {"uptime_ms", view.uptime.count()},
          {"phases", std::move(phases)}};
}

std::uint64_t number_or(const std::map<std::string, std::string>& query, const std::string& name,
                        std::uint64_t fallback) {
  const auto found = query.find(name);
  if (found == query.end()) return fallback;
  std::uint64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stop, error] = std::from_chars(found->second.data(), end, value);
  return error == std::errc() && stop == end ? value : fallback;
}

std::string log_line_json(const provision::LogLine& line) {
  constexpr std::string_view kSources[] = {"stderr", "stdout", "mcpbox"};
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(line.time.time_since_epoch()).count();
  return dump({{"seq", line.sequence},
               {"time_ms", millis},
               {"source", kSources[static_cast<int>(line.source)]},
               {"text", line.text}});
}

Json engine_json(const ControlContext& context) {
  return {{"kind", context.engine.kind},
          {"version", context.engine.version},
          {"api_version", context.engine.api_version},
          {"address", context.engine.address}};
}

Task<void> send_servers(ControlContext& context, Responder& out) {
  Json servers = Json::array();
  for (const auto& server : context.host.servers()) servers.push_back(to_json(server->view()));
  (void)co_await out.send(200, "application/json",
                          dump({{"servers", std::move(servers)}, {"engine", engine_json(context)}}));
}

Task<void> send_status(ControlContext& context, Responder& out) {
  const auto uptime =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - context.started);
  const Json body = {{"version", MCPBOX_VERSION},
                     {"engine", engine_json(context)},
                     {"image", context.image_reference},
                     {"config", context.config_file},
                     {"uptime_ms", uptime.count()}};
  (void)co_await out.send(200, "application/json", dump(body));
}

Task<void> send_tools(Server& server, Responder& out) {
  auto tools = server.tools();
  if (!tools) {
    co_await refuse(out, tools.error());
    co_return;
  }
  // The tools' own text is passed on untouched.
  std::string body = R"({"tools":[)";
  for (std::size_t i = 0; i < tools->size(); ++i) {
    if (i != 0) body += ',';
    body += (*tools)[i].json;
  }
  body += "]}\n";
  (void)co_await out.send(200, "application/json", std::move(body));
}

Task<void> call_tool(Server& server, ServedRequest request, Responder& out) {
  if (!request.content_type.starts_with("application/json")) {
    (void)co_await out.send(415, "application/json",
                            dump({{"error", {{"code", "invalid_argument"}, {"message", "send application/json"}}}}));
    co_return;
  }
  const auto tool = json::raw_member(request.body, "tool");
  const auto name = tool ? json::string_of(*tool) : std::nullopt;
  const auto arguments = json::raw_member(request.body, "arguments");
  if (!name || (arguments && !json::valid_object(*arguments))) {
    co_await refuse(out, Error(Code::kInvalidArgument, R"(the body must be {"tool": "NAME", "arguments": {…}})"));
    co_return;
  }
  std::string text = arguments ? json::on_one_line(*arguments) : "{}";
  auto reply = co_await server.call_tool(*name, std::move(text));
  if (!reply) {
    co_await refuse(out, reply.error());
    co_return;
  }
  std::string body = reply->error_code ? R"({"rpc_error":)" + reply->error : R"({"result":)" + reply->result;
  (void)co_await out.send(200, "application/json", std::move(body) + "}\n");
}

Task<void> send_logs(Server& server, ServedRequest request, Responder& out) {
  std::uint64_t after = number_or(request.query, "after", 0);
  const bool follow = request.query.contains("follow");
  if (!co_await out.begin(200, "application/x-ndjson")) co_return;
  for (;;) {
    std::string chunk;
    for (const provision::LogLine& line : server.log().since(after)) {
      chunk += log_line_json(line);
      after = line.sequence;
    }
    // An empty line now and then finds out that the reader is gone.
    if (chunk.empty() && follow) chunk = "\n";
    auto written = co_await out.write(std::move(chunk));
    if (!written) co_return;
    if (!follow) break;
    if (server.log().last_sequence() <= after) {
      (void)co_await server.log().changed().wait_until(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    }
  }
  (void)co_await out.end();
}

Task<void> pull(Server& server, ServedRequest request, Responder& out) {
  constexpr std::size_t kMaxItems = 5000;
  provision::PullOptions options;
  const Json body = Json::parse(request.body, nullptr, false);
  const auto flag = [&](const char* name) {
    return body.is_object() && body.contains(name) && body[name].is_boolean() && body[name].get<bool>();
  };
  if (!request.content_type.starts_with("application/json") || !body.is_object()) {
    co_await refuse(
        out, Error(Code::kInvalidArgument,
                   R"(send application/json: {"of": "/folder", "to": "/folder", "dry_run": true, "force": false, )"
                   R"("delete": false})"));
    co_return;
  }
  if (body.contains("of") && body["of"].is_string()) options.of = body["of"].get<std::string>();
  if (body.contains("to") && body["to"].is_string()) options.to = body["to"].get<std::string>();
  options.choice.dry_run = flag("dry_run");
  options.choice.force = flag("force");
  options.choice.delete_missing = flag("delete");
  auto pulled = co_await server.pull(std::move(options));
  if (!pulled) {
    co_await refuse(out, pulled.error());
    co_return;
  }
  Json roots = Json::array();
  for (const provision::PullOutcome& outcome : *pulled) {
    Json items = Json::array();
    for (const workspace::PullItem& item : outcome.report.items) {
      if (items.size() == kMaxItems) break;
      items.push_back({{"action", workspace::name_of(item.action)},
                       {"path", printable(item.path, 4096)},
                       {"size", item.size},
                       {"note", printable(item.note)}});
    }
    roots.push_back({{"from", outcome.from},
                     {"target", outcome.target},
                     {"applied", outcome.report.applied},
                     {"base_known", outcome.base_known},
                     {"count", outcome.report.items.size()},
                     {"refused", outcome.report.refused_total},
                     {"unreadable", outcome.unreadable},
                     {"items", std::move(items)}});
  }
  (void)co_await out.send(200, "application/json", dump({{"server", server.name()}, {"roots", std::move(roots)}}));
}

Task<void> route(ControlContext& context, ServedRequest request, Responder& out) {
  std::vector<std::string> parts;
  for (const std::string_view part : split(std::string_view(request.path).substr(1), '/')) parts.emplace_back(part);
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  const Error unknown(Code::kNotFound, "no such route; the control API is described in docs/control-api.md");
  if (parts.size() < 2 || parts[0] != "v1" || (!get && !post)) {
    co_await refuse(out, unknown);
    co_return;
  }
  if (parts.size() == 2) {
    if (get && parts[1] == "status") co_return co_await send_status(context, out);
    if (get && parts[1] == "servers") co_return co_await send_servers(context, out);
    if (get && parts[1] == "wait") {
      const auto seconds = std::chrono::seconds(std::min<std::uint64_t>(number_or(request.query, "timeout", 30), 3600));
      co_await context.host.settle(std::chrono::steady_clock::now() + seconds);
      co_return co_await send_servers(context, out);
    }
    if (post && parts[1] == "shutdown") {
      (void)co_await out.send(202, "application/json", dump({{"stopping", true}}));
      context.request_shutdown();
      co_return;
    }
  }
  if (parts.size() == 4 && parts[1] == "servers") {
    auto server = context.host.find(parts[2]);
    if (!server) co_return co_await refuse(out, server.error());
    Server& found = **server;
    const std::string& verb = parts[3];
    if (get && verb == "tools") co_return co_await send_tools(found, out);
    if (get && verb == "logs") co_return co_await send_logs(found, std::move(request), out);
    if (post && verb == "call") co_return co_await call_tool(found, std::move(request), out);
    if (post && verb == "pull") co_return co_await pull(found, std::move(request), out);
    if (post && verb == "restart") {
      found.request_restart(request.query.contains("fresh"));
      co_await found.settle(std::chrono::steady_clock::now() + std::chrono::seconds(330));
      (void)co_await out.send(200, "application/json", view_to_json(found.view()));
      co_return;
    }
    if (post && verb == "stop") {
      found.request_stop();
      co_await found.settle(std::chrono::steady_clock::now() + std::chrono::seconds(30));
      (void)co_await out.send(200, "application/json", view_to_json(found.view()));
      co_return;
    }
  }
  co_await refuse(out, unknown);
}

}  // namespace

std::string view_to_json(const hosting::ServerView& view) {
  return dump(to_json(view));
}

net::HttpHandler control_handler(ControlContext& context) {
  return [&context](ServedRequest request, Responder& out) { return route(context, std::move(request), out); };
}

}  // namespace mcpbox::gateway
