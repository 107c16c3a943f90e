// The routes with a host whose engine is down: every answer but that of a connected server.
#include "gateway/control_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <nlohmann/json.hpp>

#include "hosting/sandbox_backend.h"
#include "net/wait.h"
#include "support/no_engine.h"
#include "support/run_task.h"

namespace mcpbox::gateway {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

struct Recorded final : net::HttpExchange {
  net::ServedRequest asked;
  std::string sent;  // the request's body
  unsigned status = 0;
  std::string type;
  std::string body;
  std::size_t largest_piece = 0;
  net::HttpFields fields;
  bool ended = false;

  const net::ServedRequest& request() const override { return asked; }
  void limit_body(std::uint64_t) override {}
  Task<Result<std::size_t>> read_some(std::span<char> into) override {
    const std::size_t size = sent.copy(into.data(), into.size());
    sent.erase(0, size);
    co_return size;
  }
  void set_field(std::string name, std::string value) override {
    fields.emplace_back(std::move(name), std::move(value));
  }
  Task<Result<void>> send(unsigned code, std::string content_type, std::string text) override {
    EXPECT_EQ(status, 0u) << "answered twice";
    status = code;
    type = std::move(content_type);
    body = std::move(text);
    ended = true;
    co_return Result<void>{};
  }
  Task<Result<void>> send(unsigned code, std::string content_type, std::string_view before, std::string_view middle,
                          std::string_view after) override {
    return send(code, std::move(content_type), std::string(before).append(middle).append(after));
  }
  Task<Result<void>> begin(unsigned code, std::string content_type) override {
    EXPECT_EQ(status, 0u) << "answered twice";
    status = code;
    type = std::move(content_type);
    co_return Result<void>{};
  }
  Task<Result<void>> write(std::string chunk) override {
    body += chunk;
    largest_piece = std::max(largest_piece, chunk.size());
    co_return Result<void>{};
  }
  Task<Result<void>> end() override {
    ended = true;
    co_return Result<void>{};
  }
  Task<Result<net::ByteStream*>> upgrade(std::string) override { co_return fail(Code::kUnsupported, "a test"); }
  Json json() const { return Json::parse(body, nullptr, false); }
};

struct ControlApiTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{1};
  test::NoEngine engine;
  std::unique_ptr<hosting::SandboxBackend> backend;
  std::unique_ptr<hosting::Host> host;
  std::unique_ptr<ControlContext> context;
  net::HttpHandler handler;
  bool shutdown_asked = false;
  bool crowded = false;

  void SetUp() override {
    hosting::SandboxBackendOptions options;
    std::vector<config::ServerSettings> servers;
    options.instance = std::string(32, 'a');
    options.image = "sha256:1";
    for (const char* name : {"off", "We.ird_1"}) {
      config::ServerSettings server;
      server.name = name;
      server.enable = false;
      server.command = "true";
      servers.push_back(std::move(server));
    }
    config::ServerSettings failing;
    failing.name = "failing";
    failing.command = "true";
    failing.box.startup_timeout = std::chrono::seconds(0);
    servers.push_back(std::move(failing));
    backend = std::make_unique<hosting::SandboxBackend>(engine, loop.get_executor(), pool, std::move(options));
    host = std::make_unique<hosting::Host>(loop.get_executor(), pool, std::move(servers), *backend);
    context = std::make_unique<ControlContext>(ControlContext{host.get(),
                                                              {},
                                                              "image:tag",
                                                              "mcpbox.yaml",
                                                              [this] { shutdown_asked = true; },
                                                              std::chrono::steady_clock::now(),
                                                              {},
                                                              {}});
    context->engine.kind = "docker";
    handler = control_handler(*context);
    host->start();
  }
  void TearDown() override {
    auto stop = [this]() -> Task<int> {
      (void)co_await host->stop();
      co_return 0;
    };
    test::run_task(loop, stop());
    pool.join();
  }
  std::unique_ptr<Recorded> ask(std::string method, std::string path, std::string body = "",
                                std::map<std::string, std::string> query = {},
                                std::string type = "application/json; charset=utf-8") {
    auto out = std::make_unique<Recorded>();
    out->asked.method = std::move(method);
    out->asked.path = std::move(path);
    out->asked.crowded = crowded;
    out->asked.query = std::move(query);
    out->asked.content_type = std::move(type);
    out->sent = std::move(body);
    auto run = [&]() -> Task<int> {
      co_await handler(*out);
      co_return 0;
    };
    test::run_task(loop, run());
    EXPECT_TRUE(out->ended);
    return out;
  }
};

TEST_F(ControlApiTest, status_says_engine_image_and_configuration) {
  const auto out = ask("GET", "/v1/status");
  EXPECT_EQ(out->status, 200u);
  EXPECT_EQ(out->json()["engine"]["kind"], "docker");
  EXPECT_EQ(out->json()["image"], "image:tag");
  EXPECT_EQ(out->json()["config"], "mcpbox.yaml");
}

TEST_F(ControlApiTest, servers_are_listed_in_the_order_of_the_file) {
  const Json servers = ask("GET", "/v1/servers")->json()["servers"];
  ASSERT_EQ(servers.size(), 3u);
  EXPECT_EQ(servers[0]["name"], "off");
  EXPECT_EQ(servers[0]["state"], "stopped");
  EXPECT_EQ(servers[2]["name"], "failing");
}

TEST_F(ControlApiTest, unknown_routes_and_servers_are_404_in_json) {
  for (const auto& [method, path] :
       std::vector<std::pair<std::string, std::string>>{{"GET", "/"},
                                                        {"GET", "/v1"},
                                                        {"GET", "/v2/servers"},

                                                        {"GET", "/v1/servers/off"},

                                                        {"GET", "/v1/servers/off/tools/x"},
                                                        {"GET", "/v1/servers//tools"},
                                                        {"GET", "/v1/servers/nobody/tools"}}) {
    const auto out = ask(method, path);
    EXPECT_EQ(out->status, 404u) << method << ' ' << path;
    EXPECT_EQ(out->json()["error"]["code"], "not_found") << path;
  }
  EXPECT_THAT(ask("GET", "/v1/servers/nobody/tools")->body, HasSubstr("off, We.ird_1, failing"));
  EXPECT_FALSE(shutdown_asked);
}

TEST_F(ControlApiTest, whoever_looks_or_stops_gets_in_when_too_many_wait_for_servers) {
  context->waiting = 224;
  EXPECT_EQ(ask("POST", "/v1/servers/off/call", R"({"tool":"t"})")->status, 429u);
  EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"follow", "1"}})->status, 429u);
  EXPECT_EQ(ask("GET", "/v1/servers/off/tools")->status, 429u);
  EXPECT_EQ(ask("GET", "/v1/wait", "", {{"timeout", "0"}})->status, 429u);
  EXPECT_EQ(ask("GET", "/v1/servers")->status, 200u);
  EXPECT_EQ(ask("POST", "/v1/servers/off/stop")->status, 200u);
  context->waiting = 223;
  EXPECT_EQ(ask("POST", "/v1/servers/off/call", R"({"tool":"t"})")->status, 409u);
  EXPECT_EQ(context->waiting, 223u) << "an ended request does not count any more";
}

TEST_F(ControlApiTest, a_log_goes_in_small_pieces_and_whole) {
  provision::ServerLog& log = (*host->find("off"))->log();
  for (int i = 0; i < 400; ++i) log.line(provision::LogSource::kStderr, std::string(1000, 'x'));
  const auto out = ask("GET", "/v1/servers/off/logs");
  EXPECT_LT(out->largest_piece, 70'000u);
  EXPECT_EQ(std::ranges::count(out->body, '\n'), 400);
  EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"after", "400"}})->body, "");
}

TEST_F(ControlApiTest, over_the_last_connections_only_what_cannot_wait_is_answered) {
  crowded = true;
  for (const auto& [method, path] : std::vector<std::pair<std::string, std::string>>{
           {"GET", "/v1/status"}, {"GET", "/v1/servers"}, {"POST", "/v1/servers/off/stop"}, {"POST", "/v1/shutdown"}})
    EXPECT_LT(ask(method, path)->status, 300u) << path;
  for (const auto& [method, path] : std::vector<std::pair<std::string, std::string>>{
           {"GET", "/v1/wait"}, {"GET", "/v1/servers/off/logs"}, {"POST", "/v1/servers/off/restart"}}) {
    const auto out = ask(method, path);
    EXPECT_EQ(out->status, 503u) << path;
    EXPECT_THAT(out->body, testing::HasSubstr("all connections to the daemon are in use"));
    EXPECT_THAT(out->fields, testing::Contains(testing::Pair("Retry-After", "1")));
  }
}

TEST_F(ControlApiTest, a_method_that_a_path_has_not_is_405_with_those_that_it_has) {
  for (const auto& [method, path, allow] :
       std::vector<std::array<std::string, 3>>{{"DELETE", "/v1/servers", "GET"},
                                               {"POST", "/v1/servers", "GET"},
                                               {"GET", "/v1/shutdown", "POST"},
                                               {"GET", "/v1/servers/off/call", "POST"},
                                               {"get", "/v1/status", "GET"}}) {
    const auto out = ask(method, path);
    EXPECT_EQ(out->status, 405u) << method << ' ' << path;
    EXPECT_EQ(out->fields, (net::HttpFields{{"Allow", allow}})) << path;
    EXPECT_EQ(out->json()["error"]["code"], "invalid_argument") << path;
  }
  EXPECT_FALSE(shutdown_asked);
}

TEST_F(ControlApiTest, parameters_and_members_that_a_route_does_not_have_are_refused) {
  const auto parameter = ask("GET", "/v1/servers/off/logs", "", {{"folow", "1"}});
  EXPECT_EQ(parameter->status, 400u);
  EXPECT_THAT(parameter->body, HasSubstr("no parameter 'folow'; there are: after, follow"));
  EXPECT_EQ(ask("GET", "/v1/wait", "", {{"timeout", "1x"}})->status, 400u);
  EXPECT_EQ(ask("GET", "/v1/status", "", {{"x", ""}})->status, 400u);
  const auto member = ask("POST", "/v1/servers/off/pull", R"({"dry-run": true})");
  EXPECT_EQ(member->status, 400u);
  EXPECT_THAT(member->body, HasSubstr("a member 'dry-run'; there are: of, to, dry_run, force, delete"));
  for (const char* body : {R"({"dry_run": 1})", R"({"to": 1})", R"({"force": true, "force": false})",
                           R"({"force": true, "f\u006frce": false})", "{\"to\": \"\xff\"}"}) {
    EXPECT_EQ(ask("POST", "/v1/servers/off/pull", body)->status, 400u) << body;
  }
  EXPECT_EQ(ask("POST", "/v1/servers/off/call", R"({"tool":"x","argument":{}})")->status, 400u);
}

TEST_F(ControlApiTest, a_server_that_does_not_run_says_so_for_tools_and_calls) {
  const auto tools = ask("GET", "/v1/servers/off/tools");
  EXPECT_EQ(tools->status, 409u);
  EXPECT_THAT(tools->body, HasSubstr("server 'off' is stopped"));
  const auto call = ask("POST", "/v1/servers/We.ird_1/call", R"({"tool":"x","arguments":{}})");
  EXPECT_EQ(call->status, 409u);
}

TEST_F(ControlApiTest, a_call_needs_json_with_a_tool_and_an_object) {
  EXPECT_EQ(ask("POST", "/v1/servers/off/call", R"({"tool":"x"})", {}, "text/plain")->status, 415u);
  for (const char* body :
       {"", "{", "[]", "{}", R"({"tool":1})", R"({"tool":"x","arguments":[]})", R"({"tool":"x","arguments":"{}"})"}) {
    EXPECT_EQ(ask("POST", "/v1/servers/off/call", body)->status, 400u) << body;
  }
}

TEST_F(ControlApiTest, an_engine_that_is_down_is_in_the_servers_error_and_a_stop_ends_the_retries) {
  auto failed = [this]() -> Task<int> {
    hosting::Server& server = **host->find("failing");
    while (server.view().error.empty()) co_await server.changed().wait();
    co_return 0;
  };
  test::run_task(loop, failed());
  EXPECT_THAT(ask("GET", "/v1/servers")->json()["servers"][2]["error"].get<std::string>(),
              HasSubstr("the engine is down"));
  const auto stopped = ask("POST", "/v1/servers/failing/stop");
  EXPECT_EQ(stopped->status, 200u);
  EXPECT_EQ(stopped->json()["state"], "stopped");
  EXPECT_EQ(stopped->json()["error"], "");
  EXPECT_EQ(ask("GET", "/v1/wait", "", {{"timeout", "60"}})->status, 200u);
}

TEST_F(ControlApiTest, logs_come_as_lines_of_json_after_a_number) {
  provision::ServerLog& log = (*host->find("off"))->log();
  log.line(provision::LogSource::kStderr, "one");
  log.line(provision::LogSource::kStdout, "two \xff\x1b");
  const auto all = ask("GET", "/v1/servers/off/logs");
  EXPECT_EQ(all->type, "application/x-ndjson");
  const std::size_t newline = all->body.find('\n');
  const Json first = Json::parse(all->body.substr(0, newline), nullptr, false);
  EXPECT_EQ(first["seq"], 1);
  EXPECT_EQ(first["text"], "one");
  EXPECT_EQ(first["source"], "stderr");
  const Json second = Json::parse(all->body.substr(newline + 1), nullptr, false);
  EXPECT_EQ(second["source"], "stdout") << "bytes that are no UTF-8 must not break the JSON";
  EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"after", "2"}})->body, "");
  EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"after", "1x"}})->status, 400u);
}

TEST_F(ControlApiTest, a_follower_gets_what_is_logged_later_and_ends_with_its_reader) {
  provision::ServerLog& log = (*host->find("off"))->log();
  log.line(provision::LogSource::kStderr, "early");
  Recorded out;
  out.asked.method = "GET";
  out.asked.path = "/v1/servers/off/logs";
  out.asked.query = {{"follow", "1"}};
  auto follow = [&]() -> Task<int> {
    co_await handler(out);
    co_return 0;
  };
  bool added = false;
  const auto got = test::run_cancelled(loop, follow(), [&] {
    if (!added && out.body.find("early") != std::string::npos) {
      added = true;
      log.line(provision::LogSource::kMcpbox, "later");
    }
    return out.body.find("later") != std::string::npos;
  });
  EXPECT_FALSE(got);
}

TEST_F(ControlApiTest, shutdown_is_answered_before_it_is_done) {
  const auto out = ask("POST", "/v1/shutdown");
  EXPECT_EQ(out->status, 202u);
  EXPECT_TRUE(shutdown_asked);
}

TEST_F(ControlApiTest, pull_takes_a_json_object_only_and_says_why_there_is_nothing) {
  EXPECT_EQ(ask("POST", "/v1/servers/off/pull", "[]")->status, 400u);
  EXPECT_EQ(ask("POST", "/v1/servers/off/pull", "{")->status, 400u);
  EXPECT_EQ(ask("POST", "/v1/servers/off/pull", "{}", {}, "text/plain")->status, 415u);
  EXPECT_EQ(ask("POST", "/v1/servers/none/pull", "{}")->status, 404u);
  EXPECT_EQ(ask("GET", "/v1/servers/off/pull")->status, 405u);
  const auto out = ask("POST", "/v1/servers/off/pull", "{}");
  EXPECT_GE(out->status, 400u);
  EXPECT_NE(out->json()["error"]["message"], "");
}

TEST_F(ControlApiTest, a_daemon_that_prepares_its_image_can_be_seen_and_shut_down) {
  context->host = nullptr;
  hosting::ServerView off;
  off.name = "off";
  context->expected = {off};
  const auto status = ask("GET", "/v1/status");
  EXPECT_EQ(status->status, 200u);
  EXPECT_EQ(status->json()["starting"], true);
  const auto servers = ask("GET", "/v1/servers");
  EXPECT_EQ(servers->status, 200u);
  EXPECT_EQ(servers->json()["servers"][0]["name"], "off");
  for (const char* what : {"call", "stop", "restart", "pull"}) {
    const auto out = ask("POST", std::string("/v1/servers/off/") + what, R"({"tool":"x","arguments":{}})");
    EXPECT_EQ(out->status, 503u) << what;
    EXPECT_THAT(out->body, HasSubstr("it prepares the image"));
  }
  EXPECT_EQ(ask("GET", "/v1/nothing")->status, 404u);
  EXPECT_EQ(ask("POST", "/v1/shutdown")->status, 202u);
  EXPECT_TRUE(shutdown_asked);
  context->host = host.get();
  EXPECT_EQ(ask("GET", "/v1/status")->json()["starting"], false);
}

TEST_F(ControlApiTest, who_waits_for_the_servers_waits_for_the_image_too) {
  context->host = nullptr;
  Recorded out;
  out.asked.method = "GET";
  out.asked.path = "/v1/wait";
  out.asked.query = {{"timeout", "0"}};
  auto wait = [&]() -> Task<int> {
    co_await handler(out);
    co_return 0;
  };
  test::run_task(loop, wait());
  EXPECT_EQ(out.status, 200u);  // the time was up
  (*host->find("failing"))->request_stop();
  Recorded later;
  later.asked = out.asked;
  later.asked.query = {{"timeout", "60"}};
  auto both = [&]() -> Task<int> {
    co_await handler(later);
    co_return 0;
  };
  boost::asio::post(loop, [&] { context->host = host.get(); });
  test::run_task(loop, both());
  EXPECT_EQ(later.json()["servers"].size(), 3u);
}

TEST_F(ControlApiTest, when_many_wait_for_servers_to_settle_the_next_one_is_told_at_once) {
  context->patience = {std::chrono::milliseconds(0), std::chrono::seconds(60)};
  context->settling = 16;
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("POST", "/v1/servers/failing/restart")->status, 202u);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_EQ(context->settling, 16u);
}

TEST_F(ControlApiTest, a_change_that_still_goes_on_is_202_with_the_state) {
  context->patience = {std::chrono::milliseconds(0), std::chrono::milliseconds(0)};
  // Its engine is down: the start is tried again for seconds, which is longer than its time of none.
  const auto began = std::chrono::steady_clock::now();
  const auto restarted = ask("POST", "/v1/servers/failing/restart");
  EXPECT_EQ(restarted->status, 202u);
  EXPECT_EQ(restarted->json()["name"], "failing");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  const auto stopped = ask("POST", "/v1/servers/failing/stop");
  EXPECT_EQ(stopped->status, stopped->json()["state"] == "stopped" ? 200u : 202u);
  EXPECT_EQ(ask("POST", "/v1/servers/off/stop")->status, 200u);
}

TEST_F(ControlApiTest, nothing_is_begun_anew_while_a_pull_brings_it_back) {
  Recorded pull;
  pull.asked.method = "POST";
  pull.asked.path = "/v1/servers/off/pull";
  boost::asio::co_spawn(loop, handler(pull), boost::asio::detached);  // waits for the plan when the next one is asked
  const auto fresh = ask("POST", "/v1/servers/off/restart", "", {{"fresh", "1"}});
  EXPECT_EQ(fresh->status, 409u) << fresh->body;
  EXPECT_THAT(fresh->body, HasSubstr("`mcpbox pull` is bringing back what that would drop"));
  EXPECT_EQ(host->find("off").value()->view().state, hosting::ServerState::kStopped);
  auto until_pulled = [&]() -> Task<int> {
    while (!pull.ended) co_await net::sleep_for(std::chrono::milliseconds(1));
    co_return 0;
  };
  test::run_task(loop, until_pulled());
}

TEST_F(ControlApiTest, pull_without_a_body_is_one_with_nothing_said) {
  const auto usual = ask("POST", "/v1/servers/off/pull", "{}");
  for (const char* type : {"", "application/json"}) {
    const auto out = ask("POST", "/v1/servers/off/pull", "", {}, type);
    EXPECT_EQ(out->status, usual->status) << type;
    EXPECT_EQ(out->body, usual->body) << type;
  }
  EXPECT_EQ(ask("POST", "/v1/servers/off/pull", "x", {}, "")->status, 415u);
  EXPECT_EQ(ask("POST", "/v1/servers/off/call", "", {}, "")->status, 415u);
}

TEST_F(ControlApiTest, a_switch_is_one_or_nought) {
  for (const char* wrong : {"maybe", "yes", "2"}) {
    EXPECT_EQ(ask("POST", "/v1/servers/off/restart", "", {{"fresh", wrong}})->status, 400u) << wrong;
    EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"follow", wrong}})->status, 400u) << wrong;
  }
  EXPECT_EQ(ask("GET", "/v1/servers/off/logs", "", {{"follow", "0"}})->status, 200u);
}

TEST_F(ControlApiTest, a_stopped_server_is_told_with_how_to_start_it) {
  const auto out = ask("POST", "/v1/servers/off/call", R"({"tool": "x"})");
  EXPECT_EQ(out->status, 409u);
  EXPECT_EQ(out->json()["error"]["message"], "server 'off' is stopped; `mcpbox restart off` starts it");
}

}  // namespace
}  // namespace mcpbox::gateway
