#include "net/http_client.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "support/fake_engine.h"
#include "support/run_task.h"

namespace mcpbox::net {
namespace {

using test::FakeEngine;
using Then = FakeEngine::Reply::Then;
using std::chrono::milliseconds;

struct HttpClientTest : testing::Test {
  boost::asio::io_context loop;
  HttpClient client{loop.get_executor()};

  static HttpRequest to(const FakeEngine& server, std::string path = "/x") {
    HttpRequest request;
    request.url = "http://test" + path;
    request.unix_socket = server.socket_path();
    return request;
  }
  Result<HttpResponse> fetch(HttpRequest request) { return test::run_task(loop, client.fetch(std::move(request))); }
};

Code code_of(const Result<HttpResponse>& result) {
  return result ? Code::kInternal : result.error().code();
}
std::string text_of(const Result<HttpResponse>& result) {
  return result ? "no error" : result.error().message();
}

TEST_F(HttpClientTest, returns_status_headers_and_body) {
  FakeEngine server([](const auto&) {
    return FakeEngine::raw("HTTP/1.1 418 Teapot\r\nX-One: a\r\nx-TWO:  b \r\nContent-Length: 5\r\n\r\nhello",
                           Then::kKeep);
  });
  auto answer = fetch(to(server));
  ASSERT_TRUE(answer) << text_of(answer);
  EXPECT_EQ(answer->status, 418);
  EXPECT_EQ(answer->header("x-one"), "a");
  EXPECT_EQ(answer->header("x-two"), "b");
  EXPECT_EQ(answer->body, "hello");
}

TEST_F(HttpClientTest, sends_method_headers_and_body_and_nothing_unasked) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, "{}"); });
  auto request = to(server, "/a?b=c");
  request.method = "POST";
  request.body = std::string("a\0b", 3);
  request.headers = {{"X-Test", "1"}, {"X-Empty", ""}};
  ASSERT_TRUE(fetch(std::move(request)));
  const auto seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.target, "/a?b=c");
  EXPECT_EQ(seen.body, std::string("a\0b", 3));
  EXPECT_NE(seen.head.find("X-Test: 1"), std::string::npos);
  EXPECT_NE(seen.head.find("X-Empty:"), std::string::npos);
  EXPECT_EQ(seen.head.find("Expect"), std::string::npos);
  EXPECT_EQ(seen.head.find("Content-Type"), std::string::npos);
}

TEST_F(HttpClientTest, a_delete_without_a_body_keeps_its_method) {
  FakeEngine server([](const auto&) { return FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep); });
  auto request = to(server);
  request.method = "DELETE";
  auto answer = fetch(std::move(request));
  ASSERT_TRUE(answer) << text_of(answer);
  EXPECT_EQ(answer->status, 204);
  EXPECT_EQ(server.requests().at(0).method, "DELETE");
}

TEST_F(HttpClientTest, uploads_a_file_with_its_length) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, "{}"); });
  const auto path = std::filesystem::temp_directory_path() / ("mcpbox-upload-" + std::to_string(::getpid()));
  const std::string content(300000, 'q');
  std::ofstream(path) << content;
  auto request = to(server);
  request.method = "POST";
  request.body_file = path;
  auto answer = fetch(std::move(request));
  std::filesystem::remove(path);
  ASSERT_TRUE(answer) << text_of(answer);
  EXPECT_EQ(server.requests().at(0).method, "POST");
  EXPECT_EQ(server.requests().at(0).body, content);
}

TEST_F(HttpClientTest, refuses_a_line_break_in_any_part_of_the_head) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, "{}"); });
  auto header = to(server);
  header.headers = {{"X", "a\r\nInjected: 1"}};
  EXPECT_EQ(code_of(fetch(std::move(header))), Code::kInvalidArgument);
  auto name = to(server);
  name.headers = {{"X: y\r\nInjected", "1"}};
  EXPECT_EQ(code_of(fetch(std::move(name))), Code::kInvalidArgument);
  auto method = to(server);
  method.method = "GET / HTTP/1.1\r\nX";
  EXPECT_EQ(code_of(fetch(std::move(method))), Code::kInvalidArgument);
  EXPECT_EQ(code_of(fetch(to(server, "/\r\nX: 1"))), Code::kInvalidArgument);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpClientTest, speaks_only_http) {
  HttpRequest request;
  request.url = "file:///etc/passwd";
  EXPECT_EQ(code_of(fetch(std::move(request))), Code::kInvalidArgument);
}

TEST_F(HttpClientTest, does_not_follow_a_redirect) {
  FakeEngine server([](const auto&) {
    return FakeEngine::raw("HTTP/1.1 302 Found\r\nLocation: http://test/y\r\nContent-Length: 0\r\n\r\n", Then::kKeep);
  });
  auto answer = fetch(to(server));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 302);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(HttpClientTest, says_unavailable_when_nobody_listens) {
  HttpRequest request;
  request.url = "http://test/";
  request.unix_socket = "/nonexistent/socket";
  auto answer = fetch(std::move(request));
  EXPECT_EQ(code_of(answer), Code::kUnavailable);
  EXPECT_NE(text_of(answer).find("/nonexistent/socket"), std::string::npos) << text_of(answer);
}

TEST_F(HttpClientTest, notices_an_answer_shorter_than_announced) {
  FakeEngine server([](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"); });
  EXPECT_EQ(code_of(fetch(to(server))), Code::kDataLoss);
}

TEST_F(HttpClientTest, notices_a_connection_closed_within_a_chunk) {
  FakeEngine server(
      [](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc"); });
  EXPECT_FALSE(fetch(to(server)));
}

TEST_F(HttpClientTest, notices_an_empty_or_foreign_answer) {
  FakeEngine silent([](const auto&) { return FakeEngine::raw(""); });
  EXPECT_EQ(code_of(fetch(to(silent))), Code::kDataLoss);
  FakeEngine foreign([](const auto&) { return FakeEngine::raw("220 mail ready\r\n\r\n"); });
  EXPECT_FALSE(fetch(to(foreign)));
}

TEST_F(HttpClientTest, stops_at_the_body_limit) {
  FakeEngine server([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Then::kFlood);
    reply.more = "1000\r\n" + std::string(4096, 'x') + "\r\n";
    return reply;
  });
  auto request = to(server);
  request.max_body_bytes = 100000;
  auto answer = fetch(std::move(request));
  EXPECT_EQ(code_of(answer), Code::kResourceExhausted);
}

TEST_F(HttpClientTest, the_body_limit_itself_is_allowed) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, std::string(1000, 'x')); });
  auto at_limit = to(server);
  at_limit.max_body_bytes = 1000;
  EXPECT_TRUE(fetch(std::move(at_limit)));
  auto above = to(server);
  above.max_body_bytes = 999;
  EXPECT_EQ(code_of(fetch(std::move(above))), Code::kResourceExhausted);
}

TEST_F(HttpClientTest, stops_at_the_head_limit) {
  FakeEngine server([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\n", Then::kFlood);
    reply.more = "X: " + std::string(2000, 'y') + "\r\n";
    return reply;
  });
  EXPECT_EQ(code_of(fetch(to(server))), Code::kResourceExhausted);
}

TEST_F(HttpClientTest, a_slow_answer_ends_at_the_total_timeout) {
  FakeEngine server([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", Then::kDrip);
    reply.more = std::string(100000, 'z');
    return reply;
  });
  auto request = to(server);
  request.total_timeout = milliseconds(150);
  request.idle_timeout = milliseconds(10000);
  EXPECT_EQ(code_of(fetch(std::move(request))), Code::kTimeout);
}

TEST_F(HttpClientTest, a_silent_peer_ends_at_the_idle_timeout) {
  FakeEngine server(
      [](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Then::kHang); });
  auto request = to(server);
  request.total_timeout = milliseconds(0);
  request.idle_timeout = milliseconds(100);
  auto answer = fetch(std::move(request));
  EXPECT_EQ(code_of(answer), Code::kTimeout);
  EXPECT_NE(text_of(answer).find("sent nothing"), std::string::npos) << text_of(answer);
}

TEST_F(HttpClientTest, streams_a_successful_body_after_its_head) {
  FakeEngine server([](const auto&) {
    return FakeEngine::raw(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
        Then::kKeep);
  });
  auto request = to(server);
  std::string seen;
  request.max_body_bytes = 0;
  request.on_head = [&](const HttpResponse& head) {
    seen += "[" + std::to_string(head.status) + std::string(head.header("x")) + "]";
  };
  request.on_body = [&](std::string_view piece) {
    seen += piece;
    return Result<void>();
  };
  auto answer = fetch(std::move(request));
  ASSERT_TRUE(answer) << text_of(answer);
  EXPECT_EQ(seen, "[2001]abcde");
  EXPECT_TRUE(answer->body.empty());
}

TEST_F(HttpClientTest, collects_the_body_of_an_error_even_when_streaming) {
  FakeEngine server([](const auto&) { return FakeEngine::json(500, R"({"message":"no"})"); });
  auto request = to(server);
  request.on_body = [&](std::string_view) { return Result<void>(fail(Code::kInternal, "called for an error")); };
  auto answer = fetch(std::move(request));
  ASSERT_TRUE(answer) << text_of(answer);
  EXPECT_EQ(answer->body, R"({"message":"no"})");
}

TEST_F(HttpClientTest, an_error_of_the_consumer_is_the_result) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, "body"); });
  auto request = to(server);
  request.on_body = [&](std::string_view) { return Result<void>(fail(Code::kAborted, "enough")); };
  auto answer = fetch(std::move(request));
  EXPECT_EQ(code_of(answer), Code::kAborted);
  EXPECT_EQ(text_of(answer), "enough");
}

TEST_F(HttpClientTest, cancelling_the_waiter_closes_the_connection) {
  FakeEngine server(
      [](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Then::kHang); });
  auto request = to(server);
  bool head = false;
  request.on_head = [&](const HttpResponse&) { head = true; };
  auto answer = test::run_cancelled(loop, client.fetch(std::move(request)), [&] { return head; });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(code_of(*answer), Code::kCancelled);
  EXPECT_TRUE(server.all_closed());
}

TEST_F(HttpClientTest, the_loop_runs_out_of_work_between_requests) {
  FakeEngine server([](const auto&) { return FakeEngine::json(200, "{}"); });
  ASSERT_TRUE(fetch(to(server)));
  loop.restart();
  loop.run_for(std::chrono::seconds(5));  // returns early only without work
  EXPECT_TRUE(loop.stopped());
}

TEST_F(HttpClientTest, reuses_a_connection_unless_told_not_to) {
  std::mutex mutex;
  std::set<std::thread::id> connections;
  FakeEngine server([&](const auto&) {
    std::lock_guard lock(mutex);
    connections.insert(std::this_thread::get_id());
    return FakeEngine::json(200, "{}");
  });
  ASSERT_TRUE(fetch(to(server)));
  ASSERT_TRUE(fetch(to(server)));
  EXPECT_EQ(connections.size(), 1u);
  auto alone = to(server);
  alone.own_connection = true;
  ASSERT_TRUE(fetch(std::move(alone)));
  EXPECT_EQ(connections.size(), 2u);
}

TEST_F(HttpClientTest, a_request_with_its_own_connection_is_never_sent_twice) {
  FakeEngine server([](const auto&) { return FakeEngine::raw(""); });
  auto request = to(server);
  request.method = "POST";
  request.own_connection = true;
  EXPECT_FALSE(fetch(std::move(request)));
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(HttpClientTest, twenty_requests_run_at_once) {
  FakeEngine server([](const auto& request) { return FakeEngine::json(200, request.target); });
  int done = 0, wrong = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string path = "/" + std::to_string(i);
    boost::asio::co_spawn(loop, client.fetch(to(server, path)),
                          [&, path](std::exception_ptr error, Result<HttpResponse> answer) {
                            ++done;
                            if (error || !answer || answer->body != path) ++wrong;
                          });
  }
  loop.run_for(std::chrono::seconds(20));
  EXPECT_EQ(done, 20);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace mcpbox::net
