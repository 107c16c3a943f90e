// The server on TCP over loopback, plain and with TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>

#include "net/http_server.h"
#include "support/tls_client.h"
#include "unit/net/http_fixture.h"

namespace mcpbox::net {
namespace {

using namespace std::string_literals;
using std::chrono::hours;
using test::TlsClient;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

UniqueFd connect_to(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

struct HttpTcpTest : HttpFixture {
  std::string with_tcp(std::function<std::string(HttpServer&)> client) {
    return serve(HttpServer::listen(loop.get_executor(), TcpPlace{}, options, handler), std::move(client));
  }
};

TEST_F(HttpTcpTest, serves_and_tells_the_peers_address) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_FALSE(out.request().peer.uid);
    (void)co_await out.send(200, "text/plain", out.request().peer.address);
  };
  EXPECT_THAT(with_tcp([](HttpServer& server) {
                const UniqueFd client = connect_to(server.port());
                put(client.get(), get("/"));
                return read_to_end(client.get());
              }),
              EndsWith("\r\n\r\n127.0.0.1"));
}

TEST_F(HttpTcpTest, a_client_that_closes_cancels_its_handler_also_after_a_body) {
  Seen seen;
  handler = [wait = hanging(seen)](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(co_await read_body(out));
    co_await wait(out);
  };
  with_tcp([&](HttpServer& server) {
    int cancelled = 0;
    for (const std::string& request : {get("/"), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"s,
                                       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"s}) {
      UniqueFd client = connect_to(server.port());
      put(client.get(), request);
      EXPECT_TRUE(seen.wait_for(seen.running, 1));
      client.reset();
      EXPECT_TRUE(seen.wait_for(seen.cancelled, ++cancelled)) << request;
    }
    return std::string();
  });
}

TEST_F(HttpTcpTest, a_reset_cancels_its_handler) {
  Seen seen;
  handler = hanging(seen);
  with_tcp([&](HttpServer& server) {
    UniqueFd client = connect_to(server.port());
    put(client.get(), get("/"));
    EXPECT_TRUE(seen.wait_for(seen.running, 1));
    const linger hard{1, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client.reset();
    EXPECT_TRUE(seen.wait_for(seen.cancelled, 1));
    return std::string();
  });
}

TEST_F(HttpTcpTest, a_client_that_only_shut_its_writing_side_down_is_asked_and_gets_its_answer) {
  std::atomic<bool> go = false;
  handler = [&go](HttpExchange& out) -> Task<void> {
    while (!go) co_await sleep_for(milliseconds(1));
    (void)co_await out.send(200, "text/plain", "done");
  };
  const std::string answer = with_tcp([&](HttpServer& server) {
    const UniqueFd client = connect_to(server.port());
    put(client.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    ::shutdown(client.get(), SHUT_WR);
    char asked[26] = "";
    EXPECT_EQ(::recv(client.get(), asked, 25, MSG_WAITALL), 25);
    go = true;
    return asked + read_to_end(client.get());
  });
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("done"));
}

TEST_F(HttpTcpTest, says_what_cannot_be_listened_on) {
  const auto name = HttpServer::listen(loop.get_executor(), TcpPlace{"localhost", 0, {}}, options, handler);
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().code(), Code::kInvalidArgument);
  with_tcp([&](HttpServer& server) {
    boost::asio::io_context other;
    const auto taken =
        HttpServer::listen(other.get_executor(), TcpPlace{"127.0.0.1", server.port(), {}}, options, handler);
    EXPECT_FALSE(taken);
    return std::string();
  });
}

struct HttpTlsTest : HttpTcpTest {
  TlsFiles files{tree.path("cert.pem"), tree.path("key.pem")};
  HttpTlsTest() { test::write_certificate(files.certificate, files.key, "first"); }

  std::string with_tls(std::function<std::string(HttpServer&)> client) {
    return serve(HttpServer::listen(loop.get_executor(), TcpPlace{"127.0.0.1", 0, files}, options, handler),
                 std::move(client));
  }
};

TEST_F(HttpTlsTest, serves_with_tls_1_2_and_1_3_and_says_its_end) {
  handler = [](HttpExchange& out) -> Task<void> {
    EXPECT_TRUE(out.request().peer.tls);
    EXPECT_EQ(out.request().peer.address, "127.0.0.1");
    return echo(out);
  };
  for (const auto& [version, name] : {std::pair(TLS1_2_VERSION, "TLSv1.2"), std::pair(TLS1_3_VERSION, "TLSv1.3")}) {
    EXPECT_THAT(with_tls([&](HttpServer& server) {
                  TlsClient client(connect_to(server.port()), version);
                  EXPECT_EQ(client.version(), name);
                  EXPECT_EQ(client.protocol(), "http/1.1");
                  client.put(get("/secret"));
                  std::string answer = client.read_to_end();
                  EXPECT_TRUE(client.clean());
                  return answer;
                }),
                HasSubstr("GET /secret 0"));
  }
}

TEST_F(HttpTlsTest, refuses_old_versions_other_protocols_and_what_is_no_tls) {
  EXPECT_EQ(with_tls([&](HttpServer& server) {
              return TlsClient(connect_to(server.port()), TLS1_1_VERSION).error() + " " +
                     TlsClient(connect_to(server.port()), TLS1_3_VERSION, "h2").error();
            }),
            "handshake handshake");
  EXPECT_THAT(with_tls([&](HttpServer& server) {
                const UniqueFd client = connect_to(server.port());
                put(client.get(), get("/"));
                return read_to_end(client.get());
              }),
              Not(HasSubstr("HTTP/1.1")));
}

TEST_F(HttpTlsTest, large_bodies_go_both_ways) {
  handler = [](HttpExchange& out) -> Task<void> {
    const auto body = co_await read_body(out);
    EXPECT_TRUE(body);
    EXPECT_TRUE(co_await out.begin(200, "text/plain"));
    for (std::size_t at = 0; body && at < body->size(); at += 50'000) {
      EXPECT_TRUE(co_await out.write(body->substr(at, 50'000)));
    }
    EXPECT_TRUE(co_await out.end());
  };
  const std::string answer = with_tls([&](HttpServer& server) {
    TlsClient client(connect_to(server.port()));
    client.put("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n" +
               std::string(1'000'000, 'b'));
    return client.read_to_end();
  });
  EXPECT_EQ(std::ranges::count(answer, 'b'), 1'000'000);
}

TEST_F(HttpTlsTest, a_client_that_closes_cancels_its_handler) {
  Seen seen;
  handler = hanging(seen);
  with_tls([&](HttpServer& server) {
    {
      TlsClient client(connect_to(server.port()));
      client.put(get("/"));
      EXPECT_TRUE(seen.wait_for(seen.running, 1));
    }
    EXPECT_TRUE(seen.wait_for(seen.cancelled, 1));
    return std::string();
  });
}

TEST_F(HttpTlsTest, a_handshake_that_does_not_come_holds_no_connection) {
  options.head_timeout = milliseconds(50);
  EXPECT_EQ(with_tls([&](HttpServer& server) { return read_to_end(connect_to(server.port()).get()); }), "");
  options.head_timeout = hours(1);
  options.max_connections = 1;
  EXPECT_THAT(with_tls([&](HttpServer& server) {
                const UniqueFd silent = connect_to(server.port());
                TlsClient client(connect_to(server.port()));
                client.put(get("/"));
                return client.read_to_end();
              }),
              HasSubstr("GET / 0"));
}

TEST_F(HttpTlsTest, an_upgraded_stream_is_encrypted_too) {
  handler = [](HttpExchange& out) -> Task<void> {
    auto stream = co_await out.upgrade("echo");
    char piece[100];
    const auto size = stream ? co_await (*stream)->read_some(piece) : Result<std::size_t>(0);
    if (size) (void)co_await (*stream)->write("<", std::string_view(piece, *size), ">");
  };
  EXPECT_THAT(with_tls([&](HttpServer& server) {
                TlsClient client(connect_to(server.port()));
                client.put("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
                std::string head = client.read(4096);
                client.put("hi");
                return head + client.read_to_end();
              }),
              EndsWith("\r\n\r\n<hi>"));
}

TEST_F(HttpTlsTest, a_new_certificate_is_for_new_connections_and_a_broken_one_for_none) {
  // reload_certificate() is called where the server lives: by a handler.
  std::atomic<HttpServer*> serving = nullptr;
  handler = [&](HttpExchange& out) -> Task<void> {
    const auto reloaded = serving.load()->reload_certificate();
    (void)co_await out.send(200, "text/plain", reloaded ? "reloaded" : reloaded.error().message());
  };
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  with_tls([&](HttpServer& server) {
    serving = &server;
    TlsClient old(connect_to(server.port()));
    EXPECT_EQ(old.server(), "first");
    test::write_certificate(files.certificate, files.key, "second");
    old.put(request);
    EXPECT_THAT(old.read(4096), EndsWith("reloaded"));
    EXPECT_EQ(TlsClient(connect_to(server.port())).server(), "second");
    tree.file("key.pem", "no key");
    old.put(request);
    EXPECT_THAT(old.read(4096), HasSubstr("key.pem"));
    EXPECT_EQ(TlsClient(connect_to(server.port())).server(), "second");
    EXPECT_EQ(old.error(), "");
    return std::string();
  });
}

TEST_F(HttpTlsTest, files_that_cannot_be_used_are_named_and_nobody_is_asked_for_a_passphrase) {
  const auto refusal = [&](const TlsFiles& used) {
    const auto server = HttpServer::listen(loop.get_executor(), TcpPlace{"127.0.0.1", 0, used}, options, handler);
    EXPECT_FALSE(server);
    return server ? std::string() : server.error().message();
  };
  EXPECT_THAT(refusal({tree.path("absent.pem"), files.key}), HasSubstr("absent.pem"));
  EXPECT_THAT(refusal({files.certificate, tree.path("absent.pem")}), HasSubstr("absent.pem"));
  EXPECT_THAT(refusal({tree.file("text.pem", "no certificate"), files.key}), HasSubstr("text.pem"));
  test::write_certificate(tree.path("other.pem"), tree.path("other-key.pem"), "other");
  EXPECT_THAT(refusal({files.certificate, tree.path("other-key.pem")}), HasSubstr("other-key.pem"));
  test::write_certificate(tree.path("locked.pem"), tree.path("locked-key.pem"), "locked", "secret");
  EXPECT_THAT(refusal({tree.path("locked.pem"), tree.path("locked-key.pem")}), HasSubstr("locked-key.pem"));
}

}  // namespace
}  // namespace mcpbox::net
