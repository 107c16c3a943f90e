#include "egress/rules/up_filter.h"

#include <gtest/gtest.h>

#include "egress/rules/client_hello.h"
#include "support/client_hello.h"

namespace mcpbox::egress {
namespace {

using test::client_hello;
using State = ClientHello::State;

TEST(ClientHello, is_found_whatever_the_cuts) {
  for (const std::size_t piece : {16384u, 100u, 7u, 1u}) {
    const std::string bytes = client_hello("api.example.com", piece);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut)
      ASSERT_EQ(parse_client_hello(std::string_view(bytes).substr(0, cut)).state, State::kNeedMore)
          << piece << " " << cut;
    EXPECT_EQ(parse_client_hello(bytes + "more").server_name, "api.example.com") << piece;
  }
}

TEST(ClientHello, without_a_name_is_complete_too) {
  EXPECT_EQ(parse_client_hello(client_hello("")).state, State::kComplete);
  EXPECT_EQ(parse_client_hello(client_hello("")).server_name, "");
}

TEST(ClientHello, with_two_names_is_malformed) {
  EXPECT_EQ(parse_client_hello(test::records(test::hello_message(test::server_name_extension("a.test") +
                                                                 test::server_name_extension("b.test"))))
                .state,
            State::kMalformed);
  const std::string entry = test::number(0, 1) + test::number(1, 2) + "a";
  EXPECT_EQ(parse_client_hello(test::records(test::hello_message(
                                   test::extension(0, test::number(entry.size() * 2, 2) + entry + entry))))
                .state,
            State::kMalformed);
}

TEST(ClientHello, is_not_every_first_byte) {
  EXPECT_EQ(parse_client_hello("GET / HTTP/1.1").state, State::kNotTls);
  EXPECT_EQ(parse_client_hello("\x80\x2e\x01").state, State::kNotTls) << "SSL 2";
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\x00\x00", 5)).state, State::kMalformed);
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\x50\x00", 5)).state, State::kMalformed);
  EXPECT_EQ(parse_client_hello("\x16\x03\x01" + test::number(4, 2) + "\x01" + test::number(20000, 3)).state,
            State::kMalformed)
      << "longer than any we read";
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\x00\x01\x02", 6)).state, State::kMalformed) << "a ServerHello";
}

TEST(Egress, case_55_the_server_name_must_be_the_host_of_connect) {
  const auto refusal = [](std::string_view host, const std::string& bytes, bool required = true) {
    HelloFilter filter(*parse_host(host), required);
    return filter.feed(bytes).refusal;
  };
  EXPECT_EQ(refusal("a.test", client_hello("a.test")), "");
  EXPECT_EQ(refusal("a.test", client_hello("A.Test")), "");
  EXPECT_NE(refusal("a.test", client_hello("b.test")), "");
  EXPECT_NE(refusal("a.test", client_hello("x.a.test")), "");
  EXPECT_NE(refusal("a.test", client_hello(std::string("a.test\0", 7))), "");
  EXPECT_NE(refusal("a.test", client_hello("")), "");
  EXPECT_NE(refusal("a.test", "GET / HTTP/1.1\r\n"), "");
  EXPECT_EQ(refusal("a.test", "SSH-2.0", false), "");
  EXPECT_NE(refusal("a.test", client_hello("b.test"), false), "") << "TLS is recognised on other ports too";
  EXPECT_EQ(refusal("192.0.2.1", client_hello("")), "");
  EXPECT_NE(refusal("192.0.2.1", client_hello("b.test")), "");
}

TEST(HelloFilter, holds_everything_back_until_it_knows) {
  const std::string bytes = client_hello("a.test") + "early data";
  HelloFilter filter(*parse_host("a.test"), true);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto step = filter.feed(std::string_view(bytes).substr(i, 1));
    ASSERT_EQ(step.refusal, "");
    if (!step.passed) {
      ASSERT_TRUE(step.forward.empty());
      continue;
    }
    out = step.forward;
    break;
  }
  EXPECT_EQ(out, client_hello("a.test"));
}

// What passes of `bytes` when they come in pieces of `piece`, "!" at the end when refused, "." when ended.
std::string passed(const BodyFraming& framing, std::string_view bytes, std::size_t piece) {
  BodyFilter filter(framing);
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const auto step = filter.feed(bytes.substr(at, piece));
    out += step.forward;
    if (!step.refusal.empty()) return out + "!";
    if (step.ended) return out + ".";
  }
  return out;
}

TEST(Egress, case_56_nothing_passes_after_the_body) {
  const std::string second = "GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n";
  const BodyFraming none{}, three{BodyFraming::Kind::kLength, 3}, empty{BodyFraming::Kind::kLength, 0},
      chunked{BodyFraming::Kind::kChunked, 0};
  const std::string body = "4;x=\"y\"\r\nwiki\r\n0a\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n";
  for (const std::size_t piece : {1000u, 5u, 1u}) {
    EXPECT_EQ(passed(none, second, piece), ".");
    EXPECT_EQ(passed(empty, second, piece), ".");
    EXPECT_EQ(passed(three, "abc" + second, piece), "abc.");
    EXPECT_EQ(passed(chunked, body + second, piece), body + ".");
    EXPECT_EQ(passed(chunked, body.substr(0, body.size() - 1), piece), body.substr(0, body.size() - 1));
  }
}

TEST(BodyFilter, refuses_malformed_chunks) {
  const BodyFraming chunked{BodyFraming::Kind::kChunked, 0};
  for (const char* body : {"x\r\n", "\r\n", "-1\r\n", "4\nwiki", "4\r\nwikix", "4 \r\nwiki\r\n", "1234567890abcdef\r\n",
                           "0\r\n\n", "4;\x01\r\n", "0\r\nA: b\n\r\n", "0x4\r\nwiki\r\n"}) {
    EXPECT_TRUE(passed(chunked, body, 1).ends_with('!')) << body;
  }
}

}  // namespace
}  // namespace mcpbox::egress
