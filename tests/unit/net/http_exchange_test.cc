// Bodies in both directions, upgrades, drain: what a handler does with its exchange.
#include "net/http_exchange.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/net/http_fixture.h"

namespace mcpbox::net {
namespace {

using HttpExchangeTest = HttpFixture;
using std::chrono::hours;
using std::chrono::steady_clock;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string post(const std::string& fields, const std::string& body, const std::string& version = "1.1") {
  return "POST / HTTP/" + version + "\r\nHost: x\r\n" + fields + "\r\n" + body;
}

// Reads until `end` has come.
std::string read_until(int fd, std::string_view end) {
  std::string out;
  char byte;
  while (!out.ends_with(end) && ::read(fd, &byte, 1) == 1) out += byte;
  return out;
}

TEST_F(HttpExchangeTest, a_handler_sees_the_fields_in_lower_case_and_who_asks) {
  handler = [](HttpExchange& out) -> Task<void> {
    const ServedRequest& request = out.request();
    EXPECT_EQ(request.field("x-one"), "1");
    EXPECT_EQ(request.count("x-one"), 2u);
    EXPECT_EQ(request.field("absent"), "");
    EXPECT_EQ(request.field("host"), "x");
    EXPECT_EQ(request.content_type, "a/b");
    EXPECT_EQ(request.peer.uid, ::geteuid());
    EXPECT_FALSE(request.peer.tls);
    out.set_field("X-Two", "2");
    out.set_field("X-Evil", "a\r\nX-Three: 3");
    out.set_field("bad name", "x");
    (void)co_await out.send(200, "text/plain", "");
  };
  const std::string answer =
      ask("GET / HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nx-one: 2\r\nContent-Type: a/b\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("X-Two: 2\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("X-Evil")));
  EXPECT_THAT(answer, Not(HasSubstr("X-Three")));
  EXPECT_THAT(answer, Not(HasSubstr("bad name")));
  EXPECT_THAT(answer, HasSubstr("Date: "));
}

TEST_F(HttpExchangeTest, a_request_names_one_host_and_has_one_length) {
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(ask(post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")), Not(HasSubstr(" 200 ")));
}

TEST_F(HttpExchangeTest, a_body_comes_in_pieces_and_is_not_read_ahead_of_the_handler) {
  std::atomic<bool> go = false;
  handler = [&go](HttpExchange& out) -> Task<void> {
    char piece[1000];
    std::uint64_t size = 0;
    while (!go) co_await sleep_for(milliseconds(1));
    for (;;) {
      const auto got = co_await out.read_some(piece);
      EXPECT_TRUE(got);
      if (!got || *got == 0) break;
      size += *got;
    }
    (void)co_await out.send(200, "text/plain", std::to_string(size));
  };
  options.max_body = 64u << 20;
  constexpr std::size_t kBody = 8u << 20;
  const std::string answer = with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(), post("Connection: close\r\nContent-Length: " + std::to_string(kBody) + "\r\n", ""));
    // As long as the handler takes nothing, nothing goes in but what the kernel and one buffer hold.
    const std::string body(kBody, 'b');
    std::size_t sent = 0;
    for (int stuck = 0; stuck < 200;) {
      const ssize_t size = ::send(client.get(), body.data() + sent, kBody - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (size > 0) sent += static_cast<std::size_t>(size);
      stuck = size > 0 ? 0 : stuck + 1;
      if (size <= 0) std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_LT(sent, 1u << 20);
    go = true;
    put(client.get(), std::string_view(body).substr(sent));
    return read_to_end(client.get());
  });
  EXPECT_THAT(answer, EndsWith("\r\n\r\n" + std::to_string(kBody)));
}

TEST_F(HttpExchangeTest, a_handler_sets_its_own_limit_of_the_body) {
  handler = [](HttpExchange& out) -> Task<void> {
    out.limit_body(5);
    return echo(out);
  };
  options.max_body = 3;
  EXPECT_THAT(ask(post("Connection: close\r\nContent-Length: 5\r\n", "abcde")), HasSubstr("POST / 5"));
  EXPECT_THAT(ask(post("Content-Length: 6\r\n", "abcdef")), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask(post("Transfer-Encoding: chunked\r\n", "6\r\nabcdef\r\n0\r\n\r\n")), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpExchangeTest, chunks_cut_anywhere_are_one_body) {
  const std::string bytes = post("Connection: close\r\nTransfer-Encoding: chunked\r\n",
                                 "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n");
  const std::string answer = with_server([&] {
    std::string good;
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      const UniqueFd client = connect_to(socket);
      put(client.get(), bytes.substr(0, cut));
      std::this_thread::sleep_for(milliseconds(1));
      put(client.get(), bytes.substr(cut));
      good += read_to_end(client.get()).ends_with("POST / 13") ? '1' : '0';
    }
    return good;
  });
  EXPECT_EQ(answer, std::string(bytes.size() - 1, '1'));
}

TEST_F(HttpExchangeTest, what_is_no_chunk_is_refused_also_without_an_end) {
  EXPECT_THAT(ask(post("Transfer-Encoding: chunked\r\n", "zz\r\n")), StartsWith("HTTP/1.1 400"));
  // Whoever stands before us could see another end of the body than we do.
  for (const char* coding : {"gzip", "gzip, chunked", "chunked, gzip", "identity", "chunked, chunked"}) {
    const std::string head = std::string("Transfer-Encoding: ") + coding + "\r\n";
    EXPECT_THAT(ask(post(head, "0\r\n\r\n")), testing::ContainsRegex("^HTTP/1.1 (400|501)")) << coding;
    EXPECT_THAT(ask(post(head + "Content-Length: 5\r\n", "0\r\n\r\n")), StartsWith("HTTP/1.1 400")) << coding;
  }
  EXPECT_THAT(ask(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
              Not(HasSubstr(" 200 ")));
  EXPECT_THAT(ask(post("Connection: close\r\nTransfer-Encoding: Chunked\r\n", "0\r\n\r\n")), HasSubstr(" 200 "));
  EXPECT_THAT(ask(post("Transfer-Encoding: chunked\r\n", "3;" + std::string(100'000, 'e'))),
              StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpExchangeTest, who_waits_for_100_continue_gets_it_when_the_handler_reads) {
  const std::string answer = with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(), post("Connection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n", ""));
    EXPECT_EQ(read_until(client.get(), "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    put(client.get(), "abc");
    return read_to_end(client.get());
  });
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("POST / 3"));
}

TEST_F(HttpExchangeTest, a_refusal_before_the_body_needs_no_100_and_ends_the_connection) {
  handler = [](HttpExchange& out) -> Task<void> { (void)co_await out.send(404, "text/plain", "no"); };
  const std::string answer = ask(post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST_F(HttpExchangeTest, a_short_body_that_nobody_read_is_skipped_and_a_long_one_ends_the_connection) {
  handler = [](HttpExchange& out) -> Task<void> { (void)co_await out.send(404, "text/plain", out.request().path); };
  EXPECT_THAT(ask("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get("/2")), EndsWith("/2"));
  // The answer is not lost although the client still sends.
  const std::string answer = ask(post("Content-Length: 1000000\r\n", std::string(1'000'000, 'b')) + get("/2"));
  EXPECT_THAT(answer, EndsWith("/"));
}

TEST_F(HttpExchangeTest, an_http_1_0_client_gets_a_stream_without_chunks) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(co_await out.begin(200, "text/plain"));
    EXPECT_TRUE(co_await out.write("one"));
    EXPECT_TRUE(co_await out.end());
  };
  const std::string answer = ask(post("", "", "1.0"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\none"));
  EXPECT_THAT(answer, Not(HasSubstr("chunked")));
}

TEST_F(HttpExchangeTest, a_stream_that_the_handler_did_not_end_is_cut_short_for_the_client) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(co_await out.begin(200, "text/event-stream"));
    EXPECT_TRUE(co_await out.write("data: 1\n\n"));
  };
  const std::string answer = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, EndsWith("9\r\ndata: 1\n\n\r\n"));
}

TEST_F(HttpExchangeTest, answers_to_head_and_204_have_no_body) {
  handler = [](HttpExchange& out) -> Task<void> {
    (void)co_await out.send(out.request().method == "HEAD" ? 200 : 204, "text/plain", "four");
  };
  const std::string head = ask("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
  EXPECT_THAT(head, HasSubstr("Content-Length: 4\r\n"));
  const std::string none = ask(get("/"));
  EXPECT_THAT(none, EndsWith("\r\n\r\n"));
  EXPECT_THAT(none, Not(HasSubstr("Content-Length")));
}

TEST_F(HttpExchangeTest, a_second_answer_is_an_error_of_the_handler) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(co_await out.send(200, "text/plain", "one"));
    EXPECT_FALSE(co_await out.send(200, "text/plain", "two"));
    EXPECT_FALSE(co_await out.begin(200, "text/plain"));
    EXPECT_FALSE(co_await out.write("three"));
    EXPECT_FALSE(co_await out.upgrade("echo"));
  };
  EXPECT_THAT(ask(get("/")), EndsWith("\r\n\r\none"));
}

// A protocol that sends back what comes, until the end of it.
Task<void> echo_protocol(HttpExchange& out) {
  auto stream = co_await out.upgrade("echo");
  if (!stream) {
    out.set_field("Upgrade", "echo");
    (void)co_await out.send(426, "text/plain", "this is for the echo protocol");
    co_return;
  }
  char piece[4096];
  for (;;) {
    const auto size = co_await (*stream)->read_some(piece);
    if (!size || *size == 0) break;
    if (!co_await (*stream)->write(std::string_view(piece, *size))) break;
  }
}

TEST_F(HttpExchangeTest, an_upgrade_hands_the_stream_over_with_what_came_behind_the_request) {
  handler = echo_protocol;
  const std::string answer = with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(),
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: other, Echo\r\n\r\nearly");
    std::string all = read_until(client.get(), "\r\n\r\n") + read_until(client.get(), "early");
    put(client.get(), "later");
    all += read_until(client.get(), "later");
    put(client.get(), std::string(100'000, 'x'));
    ::shutdown(client.get(), SHUT_WR);
    return all + std::to_string(read_to_end(client.get()).size());
  });
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: Upgrade\r\nUpgrade: echo\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nearlylater100000"));
}

TEST_F(HttpExchangeTest, an_upgrade_after_a_request_and_behind_a_body_gets_all_bytes) {
  handler = [](HttpExchange& out) -> Task<void> {
    const auto body = co_await read_body(out);
    EXPECT_TRUE(body);
    if (body && *body == "abc") co_return co_await echo_protocol(out);
    (void)co_await out.send(200, "text/plain", "answer");
  };
  const std::string answer = with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)read_until(client.get(), "answer");
    put(client.get(), post("Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n", "abc"));
    (void)read_until(client.get(), "\r\n\r\n");
    std::string all;
    for (const char* piece : {"one", "two", "three"}) {
      put(client.get(), piece);
      all += read_until(client.get(), piece);
    }
    ::shutdown(client.get(), SHUT_WR);
    return all + read_to_end(client.get());
  });
  EXPECT_EQ(answer, "onetwothree");
}

TEST_F(HttpExchangeTest, who_did_not_ask_is_not_upgraded) {
  handler = echo_protocol;
  for (const char* fields :
       {"", "Upgrade: echo\r\n", "Connection: Upgrade\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"}) {
    EXPECT_THAT(ask(std::string("GET / HTTP/1.0\r\nHost: x\r\n") + fields + "\r\n"), StartsWith("HTTP/1.1 426"))
        << fields;
  }
}

TEST_F(HttpExchangeTest, an_upgraded_client_that_sends_and_closes_is_read_to_its_end) {
  std::atomic<std::size_t> received = 0;
  std::atomic<bool> over = false;
  handler = [&](HttpExchange& out) -> Task<void> {
    auto stream = co_await out.upgrade("sink");
    co_await sleep_for(milliseconds(50));  // it has closed by then
    char piece[4096];
    for (;;) {
      const auto size = stream ? co_await (*stream)->read_some(piece) : Result<std::size_t>(0);
      if (!size || *size == 0) break;
      received += *size;
    }
    over = true;
  };
  with_server([&] {
    {
      const UniqueFd client = connect_to(socket);
      put(client.get(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: sink\r\n\r\nabc");
      (void)read_until(client.get(), "\r\n\r\n");
      put(client.get(), std::string(50'000, 'x'));
    }
    for (int i = 0; i < 5000 && !over; ++i) std::this_thread::sleep_for(milliseconds(1));
    return std::string();
  });
  EXPECT_EQ(received, 50'003u);
}

struct Draining : HttpExchangeTest {
  Seen seen;
  std::unique_ptr<HttpServer> server;

  // Starts a request to `path` and leaves a second connection idle, then drains.
  std::string drain(const std::string& path, milliseconds patience) {
    handler = hanging(seen);
    server = *HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler);
    std::string got;
    auto body = [&]() -> Task<int> {
      server->start();
      auto idle = std::async(std::launch::async, [&] {
        const UniqueFd client = connect_to(socket);
        put(client.get(), "GET /soon HTTP/1.1\r\nHost: x\r\n\r\n");
        return read_to_end(client.get());
      });
      while (seen.running == 0) co_await sleep_for(milliseconds(1));
      while (seen.running != 0) co_await sleep_for(milliseconds(1));
      auto busy = std::async(std::launch::async, [&] {
        const UniqueFd client = connect_to(socket);
        put(client.get(), "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
        return read_to_end(client.get());
      });
      while (seen.running == 0) co_await sleep_for(milliseconds(1));
      const auto began = steady_clock::now();
      co_await server->drain(began + patience);
      EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(5));
      EXPECT_EQ(server->connections(), 0u);
      while (idle.wait_for(milliseconds(0)) != std::future_status::ready) co_await sleep_for(milliseconds(1));
      while (busy.wait_for(milliseconds(0)) != std::future_status::ready) co_await sleep_for(milliseconds(1));
      EXPECT_THAT(idle.get(), EndsWith("done"));
      got = busy.get();
      co_return 0;
    };
    test::run_task(loop, body());
    return got;
  }
};

TEST_F(Draining, lets_a_request_end_says_close_and_leaves_no_socket) {
  const std::string answer = drain("/soon", hours(1));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("done"));
  EXPECT_NE(::access(socket.c_str(), F_OK), 0);
}

TEST_F(Draining, cancels_at_the_deadline) {
  EXPECT_EQ(drain("/long", milliseconds(50)), "");
  EXPECT_EQ(seen.cancelled, 1);
}

}  // namespace
}  // namespace mcpbox::net
