// A server with a fake connector, on a loop of its own.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hosting/server.h"
#include "support/fake_connector.h"
#include "support/run_task.h"

namespace mcpbox::hosting {

// Everything happens a hundred times sooner.
inline ServerTiming fast() {
  ServerTiming timing;
  timing.patience = {std::chrono::milliseconds(5), std::chrono::milliseconds(5), std::chrono::milliseconds(5),
                     std::chrono::milliseconds(5)};
  timing.grace = {std::chrono::milliseconds(5), std::chrono::milliseconds(5)};
  timing.first_retry = std::chrono::milliseconds(1);
  return timing;
}

// The same, but what failed is not tried again in the time of a test: kReconnecting stays to be looked at.
inline ServerTiming without_retry() {
  ServerTiming timing = fast();
  timing.first_retry = std::chrono::seconds(1000);
  return timing;
}

// Everything of one server, on a loop of its own.
struct House {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{1};
  test::FakeStarts starts{loop.get_executor()};
  std::unique_ptr<Server> server;
  net::TaskGroup tasks{loop.get_executor(), "test"};

  explicit House(std::vector<test::Script> scripts = {}, ServerTiming timing = fast()) {
    starts.scripts.assign(scripts.begin(), scripts.end());
    config::ServerSettings settings;
    settings.name = "one";
    settings.tool_call_timeout = std::chrono::seconds(60);
    ServerParts parts;
    parts.log = std::make_unique<provision::ServerLog>(loop.get_executor(), Redactor{});
    parts.connector = std::make_unique<test::FakeConnector>(starts);
    parts.process = "one-1234";
    server = std::make_unique<Server>(loop.get_executor(), pool, std::move(settings), std::move(parts), timing);
  }
  ~House() { pool.join(); }

  // Runs the server and `body` beside it, then shuts it down. Nothing may be left.
  template <class Body>
  void live(Body body) {
    tasks.spawn("server", server->run());
    auto all = [&]() -> Task<int> {
      co_await body();
      server->request_shut_down();
      co_await tasks.join();
      co_return 0;
    };
    test::run_task(loop, all());
    EXPECT_EQ(starts.left(), 0u);
    EXPECT_EQ(starts.under_way, 0u);
    EXPECT_EQ(server->view().state, ServerState::kStopped);
  }
  Task<bool> until(std::function<bool(const ServerView&)> condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition(server->view()) && std::chrono::steady_clock::now() < deadline) {
      (void)co_await server->changed().wait_until(deadline);
    }
    co_return condition(server->view());
  }
  Task<bool> is(ServerState state) {
    co_return co_await until([state](const ServerView& view) { return view.state == state; });
  }
  Task<void> settle() { co_await server->settle(std::chrono::steady_clock::now() + std::chrono::seconds(10)); }
  test::FakeProcess& process() { return *starts.processes.back(); }
  Task<std::string> call() {
    auto reply = co_await server->call_tool("echo", {});
    co_return reply ? reply->result : "error: " + reply.error().message();
  }
  static Task<void> call_into(House& house, std::string& out) { out = co_await house.call(); }
  std::string log() {
    std::string text;
    for (const provision::LogLine& line : server->log().since(0)) text += line.text + "\n";
    return text;
  }
};

}  // namespace mcpbox::hosting
