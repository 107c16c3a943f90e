// The server on a unix socket: requests, answers, limits, clients that go away.
#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <future>

#include "unit/net/http_fixture.h"

namespace mcpbox::net {
namespace {

using HttpServerTest = HttpFixture;

using std::chrono::hours;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(HttpServerTest, answers_with_the_parts_of_the_target_decoded_once) {
  EXPECT_THAT(ask(get("/v1/a%20b/%2525?x=1&y=%26&z")), HasSubstr("GET /v1/a b/%25 x=1 y=& z= 0"));
}

TEST_F(HttpServerTest, refuses_targets_that_two_readers_could_read_differently) {
  for (const char* target : {"/a/../b", "/a/%2e%2e/b", "/./a", "/a//b", "/a%2fb", "/a%00b", "/%zz", "/%4", "/a?x=1&x=2",
                             "/a?%00=1", "*", "http://h/a"}) {
    EXPECT_THAT(ask(get(target)), StartsWith("HTTP/1.1 400")) << target;
  }
}

TEST_F(HttpServerTest, refuses_a_target_that_is_too_long) {
  EXPECT_THAT(ask(get("/" + std::string(5000, 'a'))), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, refuses_a_head_and_a_body_that_are_too_large) {
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  options.max_body = 1000;
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'b') +
                  "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(
      ask("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'b')),
      HasSubstr("POST / 1000"));
}

TEST_F(HttpServerTest, closes_on_what_is_no_http) {
  for (const std::string& bytes :
       {std::string("\0\1\2\3\r\n\r\n", 8), std::string("GET\r\n\r\n"), std::string("GET / HTTP/9.9\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")}) {
    EXPECT_THAT(ask(bytes), Not(HasSubstr("200 OK")));
  }
}

TEST_F(HttpServerTest, serves_several_requests_on_one_connection) {
  const std::string bytes =
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + get("/3");
  const std::string answer = ask(bytes);
  EXPECT_THAT(answer, HasSubstr("GET /1 0"));
  EXPECT_THAT(answer, HasSubstr("POST /2 2"));
  EXPECT_THAT(answer, HasSubstr("GET /3 0"));
}

TEST_F(HttpServerTest, streams_chunks_as_they_are_written) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(co_await out.begin(200, "text/plain"));
    EXPECT_TRUE(co_await out.write("one"));
    EXPECT_TRUE(co_await out.write(""));
    co_await sleep_for(milliseconds(2));
    EXPECT_TRUE(co_await out.write("two"));
    EXPECT_TRUE(co_await out.end());
  };
  EXPECT_THAT(ask(get("/")), HasSubstr("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
}

TEST_F(HttpServerTest, tells_the_handler_that_the_reader_of_a_stream_is_gone) {
  bool told = false;
  handler = [&told](HttpExchange& out) -> Task<void> {
    (void)co_await out.begin(200, "text/plain");
    for (int i = 0; i < 100'000 && !told; ++i) told = !co_await out.write(std::string(1000, 'x'));
  };
  with_server([&] {
    {
      const UniqueFd fd = connect_to(socket);
      put(fd.get(), get("/"));
      char byte;
      (void)!::read(fd.get(), &byte, 1);
    }
    // A second connection's end shows that the first was dealt with or is being dealt with: stop() joins it.
    return talk(socket, "nonsense\r\n\r\n");
  });
  EXPECT_TRUE(told);
}

TEST_F(HttpServerTest, a_client_that_closes_cancels_its_handler_and_nothing_else) {
  Seen seen;
  handler = hanging(seen);
  const std::string answer = with_server([&] {
    UniqueFd first = connect_to(socket), second = connect_to(socket);
    put(first.get(), get("/1"));
    put(second.get(), get("/streamed"));
    const UniqueFd third = connect_to(socket);
    put(third.get(), get("/soon"));
    EXPECT_TRUE(seen.wait_for(seen.running, 3));
    first.reset();
    EXPECT_TRUE(seen.wait_for(seen.cancelled, 1));
    second.reset();
    EXPECT_TRUE(seen.wait_for(seen.cancelled, 2));
    return read_to_end(third.get());
  });
  EXPECT_THAT(answer, HasSubstr("done"));
  EXPECT_EQ(seen.cancelled, 2);
}

TEST_F(HttpServerTest, a_client_that_pipelined_more_and_closes_cancels_its_handler) {
  Seen seen;
  handler = hanging(seen);
  with_server([&] {
    UniqueFd client = connect_to(socket);
    put(client.get(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" + get("/2") + std::string(100'000, 'x'));
    EXPECT_TRUE(seen.wait_for(seen.running, 1));
    client.reset();
    EXPECT_TRUE(seen.wait_for(seen.cancelled, 1));
    return std::string();
  });
}

TEST_F(HttpServerTest, a_client_that_only_shut_its_writing_side_down_gets_its_answer) {
  Seen seen;
  handler = hanging(seen);
  const std::string answer = with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(), "GET /soon HTTP/1.1\r\nHost: x\r\n\r\n");
    ::shutdown(client.get(), SHUT_WR);
    return read_to_end(client.get());
  });
  EXPECT_THAT(answer, HasSubstr("done"));
  EXPECT_EQ(seen.cancelled, 0);
}

TEST_F(HttpServerTest, a_handler_that_answers_nothing_becomes_a_500) {
  handler = [](HttpExchange&) -> Task<void> { co_return; };
  EXPECT_THAT(ask(get("/")), StartsWith("HTTP/1.1 500"));
}

TEST_F(HttpServerTest, a_handler_that_throws_ends_only_its_connection) {
  handler = [](HttpExchange& out) -> Task<void> {
    if (out.request().path == "/bad") throw std::runtime_error("thrown by a test");
    (void)co_await out.send(200, "text/plain", "fine");
  };
  EXPECT_THAT(with_server([&] { return talk(socket, get("/bad")) + talk(socket, get("/good")); }), HasSubstr("fine"));
}

TEST_F(HttpServerTest, stop_ends_requests_that_are_running_and_removes_the_socket) {
  std::atomic<int> running = 0;
  handler = [&running](HttpExchange&) -> Task<void> {
    struct Ended {
      std::atomic<int>& count;
      ~Ended() { --count; }
    } const ended{running};
    ++running;
    co_await sleep_for(hours(1));
  };
  auto body = [&]() -> Task<int> {
    auto server = HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler);
    (*server)->start();
    auto first = std::async(std::launch::async, [&] { return talk(socket, get("/")); });
    auto idle = std::async(std::launch::async, [&] { return talk(socket, ""); });
    while (running == 0) co_await sleep_for(milliseconds(1));
    co_await (*server)->stop();
    // Neither client hangs.
    while (first.wait_for(milliseconds(0)) != std::future_status::ready) co_await sleep_for(milliseconds(1));
    EXPECT_EQ(first.get(), "");
    // The idle one may not have been accepted yet: the listener's backlog goes with it.
    server->reset();
    while (idle.wait_for(milliseconds(0)) != std::future_status::ready) co_await sleep_for(milliseconds(1));
    co_return running;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
  EXPECT_NE(::access(socket.c_str(), F_OK), 0);
}

TEST_F(HttpServerTest, more_clients_than_connections_wait_and_are_all_served) {
  options.max_connections = 2;
  const std::string all = with_server([&] {
    std::vector<std::future<std::string>> clients;
    for (int i = 0; i < 20; ++i)
      clients.push_back(std::async(std::launch::async, [&] { return talk(socket, get("/x")); }));
    std::string good;
    for (auto& client : clients) good += client.get().find("GET /x") != std::string::npos ? '1' : '0';
    return good;
  });
  EXPECT_EQ(all, std::string(20, '1'));
}

TEST_F(HttpServerTest, the_socket_is_for_its_owner_alone) {
  with_server([&] {
    struct stat status{};
    EXPECT_EQ(::stat(socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    return std::string();
  });
}

TEST_F(HttpServerTest, replaces_a_stale_socket_and_leaves_a_live_one) {
  {
    // A socket file that nobody listens on, as a daemon that was killed leaves it.
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const std::string answer = with_server([&] {
    boost::asio::io_context other;
    const auto second = HttpServer::listen(other.get_executor(), UnixPlace{socket}, options, handler);
    EXPECT_FALSE(second);
    if (!second) EXPECT_EQ(second.error().code(), Code::kAlreadyExists);
    return talk(socket, get("/still-there"));
  });
  EXPECT_THAT(answer, HasSubstr("GET /still-there"));
}

TEST_F(HttpServerTest, does_not_replace_a_file_and_says_which_path_is_too_long) {
  tree.file("s", "precious");
  auto refused = HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  socket = tree.path(std::string(120, 'p'));
  refused = HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  socket = tree.path("no/such/folder");
  refused = HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace mcpbox::net
