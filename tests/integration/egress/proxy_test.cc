#include <gmock/gmock.h>

#include "egress/proxy/audit_reader.h"
#include "net/wait.h"
#include "rig.h"
#include "support/client_hello.h"

namespace mcpbox::egress {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string at(const std::string& host, const LoopbackServer& server) {
  return host + ":" + std::to_string(server.port());
}

std::string credential_header() {
  return "Proxy-Authorization: " + basic_credential("p1", "secret-token") + "\r\n";
}

TEST(Proxy, carries_a_tunnel_both_ways_and_its_half_close) {
  LoopbackServer server([](int fd) { send_all(fd, "got " + std::to_string(read_until(fd).size())); });
  Rig rig;
  rig.allow({at("a.test", server)});
  const UniqueFd fd = rig.tunnel(at("a.test", server));
  ASSERT_TRUE(send_all(fd.get(), std::string(3 << 20, 'x')));
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(read_until(fd.get()), "got 3145728");
  rig.drained();
  const auto lines = read_audit({.directory = rig.tree.path("audit")});
  ASSERT_EQ(lines.size(), 2u);
  const auto open = parse_audit_line(lines[0])->record, close = parse_audit_line(lines[1])->record;
  EXPECT_EQ(open.event, "open");
  EXPECT_EQ(open.server, "everything");
  EXPECT_EQ(open.address, "127.0.0.1");
  EXPECT_EQ(open.rule, at("a.test", server));
  EXPECT_EQ(close.event, "close");
  EXPECT_EQ(close.bytes_up, 3145728u);
}

TEST(Proxy, stops_reading_when_the_receiver_is_slow) {
  std::promise<void> go;
  auto wait = go.get_future().share();
  LoopbackServer server([wait](int fd) {
    wait.wait();
    send_all(fd, std::to_string(read_until(fd).size()));
  });
  Rig rig;
  rig.allow({at("a.test", server)});
  const UniqueFd fd = rig.tunnel(at("a.test", server));
  // What the kernel's and the proxy's buffers take is bounded: at some point nothing is taken any more.
  const std::string piece(1 << 20, 'x');
  std::size_t sent = 0;
  const timeval brief{0, 300000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
  for (ssize_t n; (n = ::send(fd.get(), piece.data(), piece.size(), MSG_NOSIGNAL)) > 0;
       sent += static_cast<std::size_t>(n))
    ASSERT_LT(sent, 256u << 20);
  go.set_value();
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(read_until(fd.get()), std::to_string(sent));
}

TEST(Egress, case_49_a_name_that_no_rule_has_is_refused_with_what_to_add) {
  LoopbackServer server(echo);
  Rig rig;
  rig.allow({at("a.test", server)});
  const std::string answer = rig.ask(connect_head(at("b.test", server)));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 403 Blocked by mcpbox\r\n"));
  EXPECT_THAT(answer, HasSubstr(at("b.test", server) + " is not allowed for server 'everything' (run phase)"));
  EXPECT_THAT(answer, HasSubstr("`box.network.allow: [" + at("b.test", server) + "]`"));
  EXPECT_THAT(rig.ask(connect_head("a.test:22")), HasSubstr("does not name port 22"));
  EXPECT_EQ(server.accepted(), 0);
}

TEST(Egress, case_51_without_a_rule_nothing_is_reached) {
  LoopbackServer server(echo);
  Rig rig;
  rig.allow({});
  EXPECT_THAT(rig.ask(connect_head(at("a.test", server))), StartsWith("HTTP/1.1 403 "));
  rig.allow({at("a.test", server)}, {}, Phase::kRun, Mode::kNone);
  EXPECT_THAT(rig.ask(connect_head(at("a.test", server))), HasSubstr("this server has no network"));
  EXPECT_EQ(server.accepted(), 0);
}

TEST(Egress, case_47_an_allowed_name_at_a_private_address_is_refused) {
  NetworkText network{{{"metadata.test", "169.254.169.254"},
                       {"mapped.test", "::ffff:10.0.0.1"},
                       {"own.test", "127.0.0.1"},
                       {"cgnat.test", "100.64.0.1"}},
                      {},
                      Secret()};
  Rig rig(network);
  rig.allow({"metadata.test", "mapped.test", "own.test", "cgnat.test", "127.0.0.1", "10.0.0.1"});
  EXPECT_THAT(rig.ask(connect_head("metadata.test:80")),
              AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("cloud metadata")));
  EXPECT_THAT(rig.ask(connect_head("mapped.test:80")), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("private address")));
  EXPECT_THAT(rig.ask(connect_head("cgnat.test:80")),
              AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("allow_private: [100.64.0.1]")));
  EXPECT_THAT(rig.ask(connect_head("own.test:80")),
              AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("this machine itself")));
  EXPECT_THAT(rig.ask(connect_head("127.0.0.1:80")), StartsWith("HTTP/1.1 403"))
      << "a rule alone does not open a private address";
  EXPECT_THAT(rig.ask(connect_head("10.0.0.1:80")), StartsWith("HTTP/1.1 403"));
}

TEST(Egress, case_47_a_wildcard_or_public_mode_opens_no_private_address) {
  LoopbackServer server(echo);
  Rig rig({{{"db.a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()});
  rig.allow({"*.a.test:" + std::to_string(server.port())});
  EXPECT_THAT(rig.ask(connect_head(at("db.a.test", server))), HasSubstr("no rule names exactly this host"));
  rig.allow({}, {}, Phase::kRun, Mode::kPublic);
  EXPECT_THAT(rig.ask(connect_head(at("db.a.test", server))), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(rig.ask(connect_head(at("127.0.0.1", server))), StartsWith("HTTP/1.1 403"));
  EXPECT_EQ(server.accepted(), 0);
}

TEST(Egress, case_47_every_address_of_a_name_is_judged_and_a_good_one_is_used) {
  LoopbackServer server(echo);
  ProxyOptions options;
  options.resolver.lookup = answering([](const std::string& name) -> Result<std::vector<IpAddress>> {
    if (name == "bad.test") return std::vector{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("fe80::1")};
    return std::vector{*IpAddress::parse("169.254.169.254"), *IpAddress::parse("::ffff:127.0.0.1")};
  });
  Rig rig({{}, {"127.0.0.0/8"}, Secret()}, options);
  rig.allow({at("mixed.test", server), at("bad.test", server)});
  const UniqueFd fd = rig.tunnel(at("mixed.test", server));
  send_all(fd.get(), "ping");
  EXPECT_EQ(read_bytes(fd.get(), 4), "ping");
  EXPECT_THAT(rig.ask(connect_head(at("bad.test", server))), StartsWith("HTTP/1.1 403"));
}

TEST(Egress, case_54_no_or_another_process_credential_is_407) {
  LoopbackServer server(echo);
  Rig rig;
  rig.allow({at("a.test", server)});
  const std::string target = at("a.test", server);
  EXPECT_THAT(rig.ask("CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 407 "), HasSubstr("Proxy-Authenticate: Basic")));
  EXPECT_THAT(rig.ask(connect_head(target, "wrong")), StartsWith("HTTP/1.1 407 "));
  EXPECT_THAT(rig.ask(connect_head(target), kUid + 1), StartsWith("HTTP/1.1 407 "))
      << "the right credential in another process's hands";
  EXPECT_EQ(server.accepted(), 0);
}

// With a single id every server is root in its sandbox, and the proxy hears of the same uid from each.
TEST(Attack, a_credential_of_another_sandbox_is_worth_nothing_though_the_uid_is_the_same) {
  LoopbackServer server(echo);
  Rig rig;
  rig.on_loop([&] {
    Policy policy{Mode::kAllowlist, *parse_rules({at("a.test", server)}), {}};
    return rig.registry.add({"p1", "everything", 0, "victim", sha256_hex("secret-token"), Phase::kRun, policy})
        .has_value();
  });
  const auto from = [&](const std::string& who) {
    const UniqueFd fd = connect_unix(rig.tree.path("egress.sock"));
    send_all(fd.get(), "MCPBOX1 " + who + "\n" + connect_head(at("a.test", server)));
    return read_bytes(fd.get(), 13);
  };
  EXPECT_EQ(from("0 thief"), "HTTP/1.1 407 ");
  EXPECT_EQ(from("0"), "HTTP/1.1 407 ");
  EXPECT_EQ(from("0 victim"), "HTTP/1.1 200 ");
}

TEST(Egress, case_54_a_connection_without_preface_is_closed) {
  Rig rig;
  rig.allow({"a.test"});
  for (const char* start :
       {"GET http://a.test/ HTTP/1.1\r\n", "MCPBOX1 \n", "MCPBOX1 -1\n", "MCPBOX1 1x\n", "MCPBOX1 99999999999\n",
        "MCPBOX2 1\n", "MCPBOX1 11111111111111111111111111 ", "MCPBOX1 1 a b\n", "MCPBOX1 1 \n", "MCPBOX1 1 a/b\n"}) {
    const UniqueFd fd = connect_unix(rig.tree.path("egress.sock"));
    send_all(fd.get(), start);
    EXPECT_EQ(read_until(fd.get()), "") << start;
  }
}

TEST(Egress, case_55_another_server_name_ends_the_tunnel) {
  std::promise<std::string> seen;
  LoopbackServer server([&](int fd) { seen.set_value(read_until(fd)); }, "127.77.0.1", 8443);
  Rig rig({{{"a.test", "127.77.0.1"}}, {"127.77.0.0/16"}, Secret()});
  rig.allow({"a.test:8443"});
  const UniqueFd fd = rig.tunnel("a.test:8443");
  send_all(fd.get(), test::client_hello("b.test", 50));
  EXPECT_EQ(read_until(fd.get()), std::string("\x15\x03\x03\x00\x02\x02\x70", 7)) << "an alert that clients can show";
  EXPECT_EQ(seen.get_future().get(), "") << "no byte reached the server";
  rig.drained();
  EXPECT_THAT(read_audit({.directory = rig.tree.path("audit")}).back(),
              AllOf(HasSubstr("\"refuse\""), HasSubstr("asks for b.test")));
}

TEST(Egress, case_55_the_right_server_name_passes_and_plain_text_does_not) {
  LoopbackServer server(echo, "127.77.0.1", 8443);
  Rig rig({{{"a.test", "127.77.0.1"}}, {"127.77.0.0/16"}, Secret()});
  rig.allow({"a.test:8443"});
  const std::string hello = test::client_hello("a.test", 33);
  const UniqueFd tls = rig.tunnel("a.test:8443");
  for (const char byte : hello) send_all(tls.get(), {&byte, 1});
  EXPECT_EQ(read_bytes(tls.get(), hello.size()), hello);
  ::shutdown(tls.get(), SHUT_WR);
  read_until(tls.get());
  const UniqueFd plain = rig.tunnel("a.test:8443");
  send_all(plain.get(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(read_until(plain.get()), "");
}

TEST(Egress, case_56_a_plain_request_is_rewritten_and_is_the_only_one) {
  std::promise<std::string> seen;
  LoopbackServer server([&](int fd) {
    const std::string head = read_until(fd, [](const std::string& so_far) { return so_far.contains("abc"); });
    send_all(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    ::shutdown(fd, SHUT_WR);
    seen.set_value(head + read_until(fd));
  });
  Rig rig;
  rig.allow({at("a.test", server)});
  const std::string request =
      "POST http://" + at("a.test", server) +
      "/x?q HTTP/1.1\r\nHost: b.test\r\nProxy-Authorization: " + basic_credential("p1", "secret-token") +
      "\r\nContent-Length: 3\r\n\r\nabcGET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n";
  EXPECT_THAT(rig.ask(request), HasSubstr("\r\n\r\nok"));
  EXPECT_EQ(seen.get_future().get(), "POST /x?q HTTP/1.1\r\nHost: " + at("a.test", server) +
                                         "\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
}

TEST(Egress, case_57_one_process_cannot_take_all_connections) {
  LoopbackServer server([](int) {});
  ProxyOptions options;
  options.max_tunnels_per_process = 3;
  Rig rig({{{"a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()}, options);
  rig.allow({at("a.test", server)});
  // A listener that does not accept keeps them open.
  const UniqueFd quiet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ASSERT_EQ(::bind(quiet.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(::listen(quiet.get(), 16), 0);
  ::getsockname(quiet.get(), reinterpret_cast<sockaddr*>(&name), &size);
  const std::string target = "a.test:" + std::to_string(ntohs(name.sin_port));
  rig.allow({target});
  std::vector<UniqueFd> open;
  for (int i = 0; i < 3; ++i) open.push_back(rig.tunnel(target));
  EXPECT_THAT(rig.ask(connect_head(target)),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("3 connections open already")));
  rig.allow({target});  // registered anew: the old connections end
  for (const UniqueFd& fd : open) EXPECT_EQ(read_until(fd.get()), "");
  EXPECT_NO_THROW(rig.tunnel(target));
}

TEST(Egress, case_57_an_idle_tunnel_and_a_slow_head_end) {
  LoopbackServer server([](int fd) { read_until(fd); });
  ProxyOptions options;
  options.idle_timeout = std::chrono::milliseconds(50);
  options.head_timeout = std::chrono::milliseconds(50);
  Rig rig({{{"a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()}, options);
  rig.allow({at("a.test", server)});
  EXPECT_EQ(read_until(rig.tunnel(at("a.test", server)).get()), "");
  const UniqueFd slow = rig.dial();
  send_all(slow.get(), "CONNECT a.test");
  EXPECT_EQ(read_until(slow.get()), "");
}

TEST(Egress, case_58_install_hosts_are_not_reached_in_the_run_phase_and_vice_versa) {
  LoopbackServer server(echo);
  Rig rig;
  rig.allow({at("a.test", server)}, {at("b.test", server)}, Phase::kRun);
  EXPECT_NO_THROW(rig.tunnel(at("a.test", server)));
  EXPECT_THAT(rig.ask(connect_head(at("b.test", server))), HasSubstr("holds in the install phase only"));
  rig.allow({at("a.test", server)}, {at("b.test", server)}, Phase::kInstall);
  EXPECT_NO_THROW(rig.tunnel(at("b.test", server)));
  EXPECT_THAT(rig.ask(connect_head(at("a.test", server))), HasSubstr("holds in the run phase only"));
}

TEST(Attack, an_install_of_a_server_that_may_reach_every_public_host_reaches_none_that_is_not_its_own) {
  Rig rig({{{"evil.test", "8.8.8.8"}}, {}, Secret()});
  rig.allow({}, {}, Phase::kInstall, Mode::kPublic);
  EXPECT_THAT(rig.ask(connect_head("evil.test:443")),
              AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("install_allow: [evil.test]")));
}

TEST(Proxy, says_when_a_server_cannot_be_reached_or_found) {
  ProxyOptions options;
  options.resolver.lookup = answering([](const std::string& name) -> Result<std::vector<IpAddress>> {
    return fail(Code::kNotFound, "cannot resolve " + name + ": no such name");
  });
  Rig rig({{{"a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()}, options);
  rig.allow({"a.test:1", "gone.test"});
  EXPECT_THAT(rig.ask(connect_head("a.test:1")), AllOf(StartsWith("HTTP/1.1 502 "), HasSubstr("Connection refused")));
  EXPECT_THAT(rig.ask(connect_head("gone.test:443")), AllOf(StartsWith("HTTP/1.1 502 "), HasSubstr("no such name")));
}

TEST(Proxy, a_resolver_that_hangs_costs_one_request_its_time) {
  ProxyOptions options;
  options.resolver.timeout = std::chrono::milliseconds(50);
  options.resolver.lookup = [](std::string) -> Task<Result<std::vector<IpAddress>>> {
    co_await net::sleep_for(std::chrono::hours(1));
    co_return fail(Code::kUnavailable, "late");
  };
  Rig rig({}, options);
  rig.allow({"slow.test"});
  EXPECT_THAT(rig.ask(connect_head("slow.test:443")), AllOf(StartsWith("HTTP/1.1 504 "), HasSubstr("took too long")));
}

TEST(Proxy, chains_to_an_upstream_proxy) {
  LoopbackServer upstream([](int fd) {
    const std::string head = read_until(fd, [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); });
    if (head.starts_with("CONNECT a.test:80 ")) {
      send_all(fd, "HTTP/1.1 200 Fine\r\n\r\n");
      send_all(fd, "HTTP/1.0 200 OK\r\n\r\n" +
                       read_until(fd, [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); }));
      return;
    }
    if (head != "CONNECT a.test:9000 HTTP/1.1\r\nHost: a.test:9000\r\nProxy-Authorization: Basic dTpw\r\n\r\n") {
      send_all(fd, "HTTP/1.1 599 " + std::to_string(head.size()) + "\r\n\r\n");
      return;
    }
    send_all(fd, "HTTP/1.1 200 Fine\r\nX: y\r\n\r\nwelcome ");
    echo(fd);
  });
  ProxyOptions options;
  options.resolver.lookup =
      answering([](const std::string&) -> Result<std::vector<IpAddress>> { return fail(Code::kNotFound, "not here"); });
  Rig rig({{}, {}, Secret("http://u:p@127.0.0.1:" + std::to_string(upstream.port()))}, options);
  rig.allow({"a.test:9000,80", "b.test"});
  {
    const UniqueFd fd = rig.tunnel("a.test:9000");
    send_all(fd.get(), "ping");
    EXPECT_EQ(read_bytes(fd.get(), 12), "welcome ping");
  }
  EXPECT_EQ(rig.ask("GET http://a.test/x HTTP/1.1\r\nHost: a\r\n" + credential_header() + "\r\n"),
            "HTTP/1.0 200 OK\r\n\r\nGET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(rig.ask(connect_head("b.test:443")),
              AllOf(StartsWith("HTTP/1.1 502 "), HasSubstr("the upstream proxy answered 599")));
}

// Whatever such a proxy makes of what it gets, its own user's password is not in what the server reads.
TEST(Attack, an_upstream_proxy_that_reflects_what_it_gets_gives_no_password_away) {
  LoopbackServer upstream([](int fd) {
    const std::string head = read_until(fd, [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); });
    const std::size_t at = head.find("Proxy-Authorization:");
    const std::string line = at == std::string::npos ? "none" : head.substr(at, head.find('\r', at) - at);
    send_all(fd, "HTTP/1.1 407 " + line + "\r\nX: " + line + "\r\n\r\n" + head);
  });
  ProxyOptions options;
  options.resolver.lookup =
      answering([](const std::string&) -> Result<std::vector<IpAddress>> { return fail(Code::kNotFound, "not here"); });
  Rig rig({{}, {}, Secret("http://u:p@127.0.0.1:" + std::to_string(upstream.port()))}, options);
  rig.allow({"a.test"});
  for (const char* line :
       {"TRACE http://a.test/", "OPTIONS http://a.test/", "GET http://a.test/", "CONNECT a.test:80"}) {
    for (const char* more : {"", "Max-Forwards: 0\r\n", "Max-Forwards: 1\r\n"}) {
      const std::string answer =
          rig.ask(std::string(line) + " HTTP/1.1\r\nHost: a.test\r\n" + more + credential_header() + "\r\n");
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 ")) << line << more;
      EXPECT_THAT(answer, Not(HasSubstr("dTpw"))) << line << more;
    }
  }
}

TEST(Proxy, trace_is_not_passed_on_and_max_forwards_ends_here) {
  LoopbackServer server([](int fd) {
    send_all(fd, "HTTP/1.0 200 OK\r\n\r\n" +
                     read_until(fd, [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); }));
  });
  Rig rig;
  rig.allow({at("a.test", server)});
  const auto ask = [&](const std::string& method, const std::string& header) {
    return rig.ask(method + " http://" + at("a.test", server) + "/ HTTP/1.1\r\nHost: a.test\r\n" + header +
                   credential_header() + "\r\n");
  };
  EXPECT_THAT(ask("TRACE", ""), AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("\r\nAllow: CONNECT, ")));
  EXPECT_THAT(ask("TRACE", "Max-Forwards: 3\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask("OPTIONS", "Max-Forwards: 0\r\n"), AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("\r\nAllow: ")));
  EXPECT_THAT(ask("GET", "Max-Forwards: 0\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(server.accepted(), 0);
  EXPECT_THAT(ask("OPTIONS", "Max-Forwards: 3\r\n"), HasSubstr("\r\nMax-Forwards: 2\r\n"));
  const auto lines = read_audit({.directory = rig.tree.path("audit")});
  EXPECT_TRUE(suggest({lines.begin(), lines.begin() + 2}, "").allow.empty()) << "no rule helps against it";
}

}  // namespace
}  // namespace mcpbox::egress
