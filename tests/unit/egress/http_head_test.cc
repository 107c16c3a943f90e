#include "egress/rules/http_head.h"

#include <gtest/gtest.h>

#include <string>

namespace mcpbox::egress {
namespace {

using namespace std::string_literals;

unsigned status_of(std::string_view head) {
  const auto length = head_length(head);
  if (!length) return length.error().status;
  if (!*length) return 0;
  const auto parsed = parse_head(head.substr(0, **length));
  return parsed ? 200 : parsed.error().status;
}

TEST(Egress, case_52_targets_that_are_not_plain_are_refused) {
  const char* targets[] = {"a.test",          "a.test:",      "a.test:0",       "a.test:99999",
                           "user@a.test:443", ":443",         "a.test:443:443", "0x7f000001:443",
                           "2130706433:443",  "a.test:443/x", "[::1:443",       "a\xc3\xa4.test:443",
                           "127.1:443",       "a.test\\:443", "*:443"};
  for (const char* target : targets)
    EXPECT_EQ(status_of(std::string("CONNECT ") + target + " HTTP/1.1\r\nHost: a\r\n\r\n"), 400u) << target;
  EXPECT_EQ(status_of("CONNECT a\0.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"s), 400u);
  EXPECT_EQ(status_of("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 200u);
  EXPECT_EQ(status_of("CONNECT a.test:443 HTTP/1.0\r\n\r\n"), 200u);
}

TEST(Egress, case_53_no_request_can_be_read_in_two_ways) {
  const std::string line = "POST http://a.test/x HTTP/1.1\r\n";
  for (const char* headers :
       {"", "Host: a\r\nHost: b\r\n", "Host : a\r\n", " Host: a\r\n", "Host: a\r\n folded\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: 1,1\r\n", "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nConnection: close, Content-Length\r\nContent-Length: 3\r\n", "Host: a\r\nX: a\rb\r\n",
        "Host: a\r\nX\r\n", "Host: a\r\n: x\r\n", "Host: a\r\nX: \x01\r\n", "Host: a\nX: b\r\n"}) {
    EXPECT_EQ(status_of(line + headers + "\r\n"), 400u) << headers;
  }
  for (const char* coding : {"gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1"}) {
    EXPECT_EQ(status_of(line + "Host: a\r\nTransfer-Encoding: " + coding + "\r\n\r\n"), 501u) << coding;
  }
  EXPECT_EQ(status_of("POST http://a.test/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400u);
  EXPECT_EQ(status_of("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"), 400u);
}

TEST(HttpHead, takes_only_proxy_requests) {
  for (const char* line : {"GET / HTTP/1.1", "GET ftp://a.test/ HTTP/1.1", "GET https://a.test/ HTTP/1.1",
                           "GET http://u:p@a.test/ HTTP/1.1", "GET http://a.test/#x HTTP/1.1", "GET http:///x HTTP/1.1",
                           "GET  http://a.test/ HTTP/1.1", "GET http://a.test/ x HTTP/1.1",
                           "G@T http://a.test/ HTTP/1.1", "GET http://a.test:/ HTTP/1.1", "GET"}) {
    EXPECT_EQ(status_of(std::string(line) + "\r\nHost: a\r\n\r\n"), 400u) << line;
  }
  EXPECT_EQ(status_of("GET http://a.test/ HTTP/2.0\r\nHost: a\r\n\r\n"), 505u);
}

TEST(HttpHead, keeps_its_limits) {
  const std::string start = "GET http://a.test/ HTTP/1.1\r\nHost: a\r\n";
  std::string headers;
  for (int i = 0; i < 99; ++i) headers += "X: y\r\n";
  EXPECT_EQ(status_of(start + headers + "\r\n"), 200u);
  EXPECT_EQ(status_of(start + headers + "X: y\r\n\r\n"), 431u);
  const std::string fit = start + "X: " + std::string(kMaxHead - start.size() - 7, 'x') + "\r\n\r\n";
  ASSERT_EQ(fit.size(), kMaxHead);
  EXPECT_EQ(status_of(fit), 200u);
  EXPECT_EQ(status_of(start + "X: " + std::string(kMaxHead, 'x') + "\r\n\r\n"), 431u);
  EXPECT_EQ(status_of("GET http://a.test/" + std::string(kMaxTarget, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"), 414u);
}

TEST(HttpHead, is_complete_at_its_last_byte_and_not_before) {
  const std::string head = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nUser-Agent: x\r\n\r\n";
  for (std::size_t cut = 0; cut < head.size(); ++cut) {
    const auto length = head_length(std::string_view(head).substr(0, cut));
    ASSERT_TRUE(length) << cut;
    EXPECT_FALSE(*length) << cut;
  }
  EXPECT_EQ(**head_length(head + "rest"), head.size());
}

TEST(HttpHead, is_written_anew_for_the_server) {
  const auto request = parse_head(
      "POST HTTP://A.Test:8080?q=1 HTTP/1.1\r\nHost: other.test\r\nProxy-Authorization: Basic "
      "eDp5\r\nProxy-Connection: keep-alive\r\n"
      "Connection: X-Hop, close\r\nX-Hop: secret\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nAccept: a, "
      "b\r\nContent-Length: 3\r\n\r\n");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(
      request->forward_head(),
      "POST /?q=1 HTTP/1.1\r\nHost: a.test:8080\r\nAccept: a, b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(request->proxy_authorization, "Basic eDp5");
}

TEST(HttpHead, max_forwards_is_one_number_and_counts_down) {
  const auto with = [](const std::string& headers) {
    return parse_head("OPTIONS http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + headers + "\r\n");
  };
  const auto request = with("Max-Forwards: 7\r\nConnection: max-forwards\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->max_forwards, 7u);
  EXPECT_EQ(request->forward_head(),
            "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 6\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(with("Max-Forwards: 0\r\n")->max_forwards, 0u);
  EXPECT_FALSE(with("")->max_forwards);
  for (const char* wrong : {"Max-Forwards:\r\n", "Max-Forwards: -1\r\n", "Max-Forwards: 1 2\r\n",
                            "Max-Forwards: 1\r\nmax-forwards: 1\r\n", "Max-Forwards: 99999999999999999999\r\n"})
    EXPECT_EQ(with(wrong).error().status, 400u) << wrong;
}

TEST(Credential, is_basic_and_exact) {
  const auto credential = parse_credential(basic_credential("proc-1", "tok:en"));
  ASSERT_TRUE(credential);
  EXPECT_EQ(credential->process, "proc-1");
  EXPECT_EQ(credential->token, "tok:en");
  EXPECT_EQ(basic_credential("a", "b"), "Basic YTpi");
  EXPECT_TRUE(parse_credential("basic YTpi"));
  for (const char* value :
       {"", "Basic", "Basic ", "Bearer YTpi", "Basic YT*i", "Basic YTpi YTpi", "Basic OmI=", "Basic YWI=", "Basic Y"})
    EXPECT_FALSE(parse_credential(value)) << value;
}

}  // namespace
}  // namespace mcpbox::egress
