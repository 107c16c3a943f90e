#include "app/verbs/client_verbs.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <ctime>
#include <functional>
#include <optional>
#include <utility>

#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/daemon_client.h"
#include "app/verbs/table.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "base/url.h"
#include "json/raw.h"
#include "json/text.h"
#include "json/value.h"
#include "json/writer.h"
#include "net/task_group.h"
#include "net/wait.h"

namespace mcpbox::app {
namespace {

using json::Value;
using std::chrono::seconds;

constexpr unsigned kAccepted = 202;

int report(const DaemonClient& client, const Error& error) {
  if (client.cancelled()) return kFailed;  // a stop signal ended the verb: nobody needs to be told
  print_err("mcpbox: {}\n", error.message());
  return client.no_daemon() ? kNoDaemon : exit_code_of(error);
}

// Runs a verb with a client on the loop. A stop signal closes its connection, by which the daemon gives up what it does
// for it, and ends the verb as the signal would have ended it: with 128 and its number.
template <class Verb>
int with_client(const ClientOptions& options, Verb verb) {
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    const auto executor = runtime.loop.get_executor();
    DaemonClient client(executor, options.socket);
    net::Signal changed(executor);
    net::TaskGroup running(executor, "verb"), signals(executor, "signals");
    std::optional<int> code;
    bool over = false;
    signals.spawn("stop", on_stop_signal(runtime, [&](int number) {
                    if (!code) code = 128 + number;
                    changed.notify();
                  }));
    auto run = [&]() -> Task<void> {
      struct Over {
        bool& over;
        net::Signal& changed;
        ~Over() {
          over = true;
          changed.notify();
        }
      } const at_end{over, changed};
      const int result = co_await verb(runtime, client);
      if (!code) code = result;
    };
    running.spawn("verb", run());
    while (!over && !code) co_await changed.wait();
    co_await running.stop();
    co_await signals.stop();
    co_return code.value_or(kFailed);
  });
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void print_phases(const Value& servers) {
  std::vector<std::vector<std::string>> rows;
  for (const Value& server : servers.elements()) {
    for (const Value& phase : server["phases"].elements()) {
      rows.push_back({server["name"].string_or(), phase["phase"].string_or(),
                      human_milliseconds(static_cast<double>(phase["ms"].integer_or(0)))});
    }
  }
  print_out("\n{}", format_table({"SERVER", "PHASE", "TOOK"}, rows));
}

void print_servers(const Value& servers) {
  std::vector<std::vector<std::string>> rows;
  for (const Value& server : servers.elements()) {
    const std::string version = server["server"]["version"].string_or();
    std::string what = server["server"]["name"].string_or() + (version.empty() ? "" : " " + version);
    const std::string state = server["state"].string_or();
    if (const std::string error = server["error"].string_or(); !error.empty()) {
      // Of an earlier attempt, where this one still goes on, or nobody wants one any more.
      const bool earlier = state != "error" && state != "reconnecting";
      const std::string phase = server["phase"].string_or();
      what = !earlier ? phase : phase.empty() || state == "stopped" ? "" : phase + ", ";
      what += (earlier ? "after: " : ": ") + in_one_line(error);
    }
    const bool connected = state == "connected";
    rows.push_back({server["name"].string_or(), state,
                    connected ? fmt::format("{}", server["tools"].integer_or(0)) : "",
                    fmt::format("{}", server["restarts"].integer_or(0)),
                    connected ? human_milliseconds(static_cast<double>(server["uptime_ms"].integer_or(0))) : "",
                    server["network"].string_or(), server["sandbox"].string_or(), what});
  }
  print_out("{}", format_table({"SERVER", "STATE", "TOOLS", "RESTARTS", "UP", "NETWORK", "SANDBOX", "WHAT"}, rows));
}

// A tool's answer for people: text blocks as text, others by kind and size.
void print_result(const Value& result) {
  for (const Value& block : result["content"].elements()) {
    const std::string type = block["type"].string_or();
    if (type == "text") {
      for (const std::string_view line : split(block["text"].string_or(), '\n'))
        print_out("{}\n", printable(line, 1u << 20));
    } else if (type == "image" || type == "audio") {
      print_out("[{}: {}, {} of base64]\n", type, printable(block["mimeType"].string_or()),
                human_bytes(block["data"].string_or().size()));
    } else {
      print_out("[{}] {}\n", printable(type), printable(block.dump(), 1u << 16));
    }
  }
  if (!result["content"].present()) print_out("{}\n", printable(result.dump(2), 1u << 20));
}

void print_log_line(const std::string& text, bool as_json) {
  if (as_json) {
    print_out("{}\n", text);
    return;
  }
  const auto line = Value::parse(text);
  if (!line) return;
  const std::int64_t millis = (*line)["time_ms"].integer_or(0);
  const std::string source = (*line)["source"].string_or();
  const std::string head = fmt::format("{:%H:%M:%S}.{:03d} {:<6}",
                                       fmt::localtime(static_cast<std::time_t>(millis / 1000)), millis % 1000, source);
  // What mcpbox says may have several lines.
  for (const std::string_view part : split((*line)["text"].string_or(), '\n'))
    print_out("{} {}\n", head, printable(part, 1u << 14));
}

Task<int> change_server(DaemonClient& client, const ClientOptions& options, std::string path) {
  auto body = co_await client.post(std::move(path), "{}", seconds(0));  // the daemon knows how long it may take
  if (!body) co_return report(client, body.error());
  if (options.json) {
    print_out("{}", *body);
    co_return client.status() == kAccepted ? kNotConnected : kOk;
  }
  const auto server = Value::parse(*body);
  if (!server) co_return report(client, server.error());
  const std::string error = (*server)["error"].string_or();
  const std::string state = (*server)["state"].string_or();
  const bool goes_on = client.status() == kAccepted;
  print_out("{}: {}{}{}{}\n", (*server)["name"].string_or(), state, error.empty() ? "" : ": ",
            printable(in_one_line(error)), goes_on ? "; it is not done yet, `mcpbox ps` shows when it is" : "");
  if (goes_on) co_return kNotConnected;
  co_return state == "connected" || state == "stopped" ? kOk : kNotConnected;
}

}  // namespace

Result<std::string> call_arguments(const CallOptions& call) {
  if (!call.json.empty()) {
    std::string text = call.json;
    if (text == "-") {
      text.clear();
      char buffer[4096];
      ssize_t size = 0;
      while ((size = ::read(0, buffer, sizeof buffer)) > 0) {
        text.append(buffer, static_cast<std::size_t>(size));
        if (text.size() > (4u << 20))
          return fail(Code::kInvalidArgument, "the arguments on stdin are larger than 4 MiB");
      }
      if (size < 0) return fail(errno_error(errno, "the arguments on stdin cannot be read"));
    }
    if (!json::valid_object(text)) return fail(Code::kInvalidArgument, "--json needs a JSON object, like '{\"a\": 1}'");
    return json::on_one_line(text);
  }
  std::string out = "{";
  for (const std::string& argument : call.arguments) {
    const std::size_t equals = argument.find('=');
    const bool raw = equals != std::string::npos && equals > 0 && argument[equals - 1] == ':';
    const std::string key = equals == std::string::npos ? "" : argument.substr(0, raw ? equals - 1 : equals);
    if (key.empty()) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("'{}' is no argument; write key=text, key:=JSON, or --json '{{…}}'", printable(argument, 80)));
    }
    const std::string value = argument.substr(equals + 1);
    if (raw && !json::valid(value))
      return fail(Code::kInvalidArgument, fmt::format("the value of '{}' is no JSON: {}", key, printable(value, 80)));
    if (out.size() > 1) out += ',';
    out += json::quote(key) + ":" + (raw ? json::on_one_line(value) : json::quote(value));
  }
  return out + "}";
}

int list_servers(const ClientOptions& options, const ListOptions& list) {
  return with_client(options, [&](Runtime&, DaemonClient& client) -> Task<int> {
    using Clock = std::chrono::steady_clock;
    const auto began = Clock::now();
    const auto deadline = began + seconds(list.wait);
    Result<std::string> body;
    for (;;) {
      const auto left = std::chrono::duration_cast<seconds>(deadline - Clock::now()).count();
      const std::string path =
          list.wait > 0 ? fmt::format("/v1/wait?timeout={}", std::max<long>(left, 1)) : "/v1/servers";
      body = co_await client.get(path, seconds(list.wait + 30));
      if (body || list.wait == 0 || body.error().code() != Code::kUnavailable || Clock::now() >= deadline) break;
      // It starts: first its socket, then the image.
      if (client.no_daemon() && Clock::now() - began > seconds(15)) break;
      co_await net::sleep_for(std::chrono::milliseconds(200));
    }
    if (!body) co_return report(client, body.error());
    const auto parsed = Value::parse(*body);
    if (!parsed) co_return report(client, parsed.error());
    bool all = true;
    for (const Value& server : (*parsed)["servers"].elements()) {
      const std::string state = server["state"].string_or();
      all = all && (state == "connected" || state == "stopped");
    }
    if (options.json) {
      print_out("{}", *body);
    } else {
      print_servers((*parsed)["servers"]);
      const Value& engine = (*parsed)["engine"];
      const std::string kind = engine["kind"].string_or(), address = engine["address"].string_or();
      if (!kind.empty())
        print_out("engine: {} {}{}\n", printable(kind), printable(engine["version"].string_or()),
                  address == kind ? "" : " at " + printable(address));
      if (list.phases) print_phases((*parsed)["servers"]);
    }
    co_return list.wait == 0 || all ? kOk : kNotConnected;
  });
}

int list_tools(const ClientOptions& options, const std::string& server) {
  return with_client(options, [&](Runtime&, DaemonClient& client) -> Task<int> {
    std::vector<std::string> names{server};
    if (server.empty()) {
      names.clear();
      auto body = co_await client.get("/v1/servers");
      if (!body) co_return report(client, body.error());
      const auto parsed = Value::parse(*body);
      if (!parsed) co_return report(client, parsed.error());
      for (const Value& entry : (*parsed)["servers"].elements()) {
        if (entry["state"].string_or() == "connected") names.push_back(entry["name"].string_or());
      }
    }
    std::string all = "{";
    std::vector<std::vector<std::string>> rows;
    for (const std::string& name : names) {
      auto body = co_await client.get("/v1/servers/" + percent_encode(name) + "/tools");
      if (!body) co_return report(client, body.error());
      if (options.json) {
        const auto tools = json::raw_member(*body, "tools");
        if (all.size() > 1) all += ',';
        all += json::quote(name) + ":" + std::string(tools.value_or("[]"));
        continue;
      }
      const auto parsed = Value::parse(*body);
      if (!parsed) co_return report(client, parsed.error());
      for (const Value& tool : (*parsed)["tools"].elements()) {
        std::string description = first_line(tool["description"].string_or());
        if (description.size() > 90) description = printable(description, 90);
        rows.push_back({name, tool["name"].string_or(), description});
      }
    }
    if (options.json) {
      print_out("{}}}\n", all);
    } else {
      print_out("{}", format_table({"SERVER", "TOOL", "DESCRIPTION"}, rows));
    }
    if (names.empty()) print_err("mcpbox: no server is connected; `mcpbox ps` says why\n");
    co_return kOk;
  });
}

int call_tool(const ClientOptions& options, const CallOptions& call) {
  auto arguments = call_arguments(call);
  if (!arguments) {
    print_err("mcpbox: {}\n", arguments.error().message());
    return kUsage;
  }
  return with_client(options, [&](Runtime&, DaemonClient& client) -> Task<int> {
    json::Writer request;
    request.object().member("tool", call.tool).member("arguments", json::Raw{*arguments}).end();
    auto body =
        co_await client.post("/v1/servers/" + percent_encode(call.server) + "/call", request.take(), seconds(0));
    if (!body) co_return report(client, body.error());
    const auto parsed = Value::parse(*body);
    if (!parsed) co_return report(client, parsed.error());
    if (const Value error = (*parsed)["rpc_error"]; error.present()) {
      print_err("mcpbox: server '{}' refused the call: {} (code {})\n", call.server,
                printable(error["message"].string_or()), error["code"].integer_or(0));
      co_return kToolError;
    }
    const Value result = (*parsed)["result"];
    if (options.json) {
      print_out("{}\n", json::raw_member(*body, "result").value_or("null"));
    } else {
      print_result(result);
    }
    co_return result["isError"].bool_or(false) ? kToolError : kOk;
  });
}

namespace {

// Ends when nobody reads stdout any more: a pipe says POLLERR then, a socket POLLHUP.
Task<void> until_unread() {
  for (;;) {
    co_await net::sleep_for(std::chrono::milliseconds(250));
    pollfd out{STDOUT_FILENO, 0, 0};
    if (::poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0) co_return;
  }
}

// The body of an answer that goes on until the daemon or the reader of stdout ends it.
Task<Result<void>> stream_while_read(DaemonClient& client, std::string path,
                                     std::function<Result<void>(std::string_view)> on_bytes) {
  namespace asio = boost::asio;
  const auto executor = co_await asio::this_coro::executor;
  auto [order, thrown, done, other] =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(executor, client.stream(std::move(path), std::move(on_bytes)), asio::deferred),
          asio::co_spawn(executor, until_unread(), asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] == 0 && thrown) std::rethrow_exception(thrown);
  if (order[0] == 0) co_return std::move(done);
  co_return fail(Code::kCancelled, "nobody reads the log");
}

}  // namespace

int show_logs(const ClientOptions& options, const std::string& server, bool follow) {
  return with_client(options, [&](Runtime& runtime, DaemonClient& client) -> Task<int> {
    std::string partial;
    bool begun = false;
    const auto on_bytes = [&](std::string_view bytes) -> Result<void> {
      begun = true;
      partial += bytes;
      std::size_t begin = 0;
      for (std::size_t end = 0; (end = partial.find('\n', begin)) != std::string::npos; begin = end + 1) {
        if (end > begin) print_log_line(partial.substr(begin, end - begin), options.json);
      }
      partial.erase(0, begin);
      if (!flush_out()) return fail(Code::kCancelled, "nobody reads the log");
      return {};
    };
    const std::string path = "/v1/servers/" + percent_encode(server) + "/logs" + (follow ? "?follow=1" : "");
    auto done = co_await stream_while_read(client, path, on_bytes);
    (void)runtime;
    if (!done && done.error().code() == Code::kCancelled) co_return kFailed;
    if (!flush_out()) co_return kFailed;  // which is said at the end
    if (done) co_return kOk;
    // A connection that breaks off in the middle of a log: by a daemon that ends, or for a reason of its own.
    if (begun && done.error().code() != Code::kTimeout && !client.cancelled() &&
        !co_await client.get("/v1/status", seconds(5))) {
      print_err("mcpbox: the daemon ended, and the log with it\n");
      co_return kNoDaemon;
    }
    co_return report(client, done.error());
  });
}

int restart_server(const ClientOptions& options, const std::string& server, bool fresh) {
  return with_client(options, [&](Runtime&, DaemonClient& client) -> Task<int> {
    co_return co_await change_server(client, options,
                                     "/v1/servers/" + percent_encode(server) + "/restart" + (fresh ? "?fresh=1" : ""));
  });
}

int stop_server(const ClientOptions& options, const std::string& server) {
  return with_client(options, [&](Runtime&, DaemonClient& client) -> Task<int> {
    co_return co_await change_server(client, options, "/v1/servers/" + percent_encode(server) + "/stop");
  });
}

}  // namespace mcpbox::app
