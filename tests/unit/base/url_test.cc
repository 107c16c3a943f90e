#include "base/url.h"

#include <gtest/gtest.h>

namespace mcpbox {
namespace {

TEST(Url, is_taken_apart) {
  const auto url = parse_url("HTTPS://user:p%40ss@Example.com:8443/a%20b?c=d#e");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->scheme, "https");
  ASSERT_TRUE(url->user);
  EXPECT_EQ(url->user->name, "user");
  EXPECT_EQ(url->user->password, "p@ss");
  EXPECT_EQ(url->host, "Example.com");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->authority(), "Example.com:8443");
  EXPECT_EQ(url->target, "/a%20b?c=d#e");
}

TEST(Url, has_a_host_in_all_its_forms) {
  EXPECT_EQ(parse_url("http://h")->authority(), "h");
  EXPECT_EQ(parse_url("http://h:")->authority(), "h");
  EXPECT_EQ(parse_url("http://h?q")->target, "?q");
  EXPECT_EQ(parse_url("http://[::1]:80/")->authority(), "[::1]:80");
  EXPECT_EQ(parse_url("http://127.0.0.1:80/")->host, "127.0.0.1");
  EXPECT_EQ(parse_url("unix:///run/x.sock")->host, "");
  EXPECT_EQ(parse_url("unix:///run/x.sock")->target, "/run/x.sock");
  EXPECT_EQ(parse_url("sparse+https://h/i/")->scheme, "sparse+https");
  EXPECT_FALSE(parse_url("http://h")->user);
}

TEST(Url, takes_what_stands_before_the_last_at_sign_as_installers_do) {
  const auto url = parse_url("https://me@corp.com:p@ss^|w{o}rd @index.corp/simple");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->user->name, "me@corp.com");
  EXPECT_EQ(url->user->password, "p@ss^|w{o}rd ");
  EXPECT_EQ(url->host, "index.corp");
  EXPECT_EQ(parse_url("https://a:b:c@h/")->user->password, "b:c");
  EXPECT_FALSE(parse_url("https://a:%zz@h/"));
}

TEST(Url, refuses_what_has_no_scheme_or_no_authority) {
  for (const char* text : {"", "h", "h:80", "//h", "://h", "1http://h", "ht tp://h", "http:/h", "http://h h/",
                           "http://h:8o/", "http://[::1/", "http://[fe80::1%lo]/", "http://h:80:81/",
                           "http://h\\@other/", "http://h\n/", "http://${HOST}/", "http://<h>/"}) {
    const auto url = parse_url(text);
    EXPECT_FALSE(url.has_value()) << text;
    if (!url) EXPECT_EQ(url.error().message().find("h:80"), std::string::npos);
  }
  EXPECT_FALSE(parse_url(std::string_view("http://h\0h/", 11)));
}

TEST(PercentCoding, keeps_what_is_plain) {
  EXPECT_EQ(percent_encode("aZ9-._~"), "aZ9-._~");
  EXPECT_EQ(percent_encode("a b/{\"c\":1}&="), "a%20b%2F%7B%22c%22%3A1%7D%26%3D");
  EXPECT_EQ(percent_encode("\xc3\xa4"), "%C3%A4");
  EXPECT_EQ(percent_encode("/a b/-._~!$&'()*+,;=:@%?#", Plain::kPath), "/a%20b/-._~!$&'()*+,;=:@%25%3F%23");
  EXPECT_EQ(percent_encode(std::string_view("\0\n", 2)), "%00%0A");
}

TEST(PercentCoding, decodes_whole_escapes_only) {
  EXPECT_EQ(percent_decode("a%20b%2Fc+d"), "a b/c+d");
  EXPECT_EQ(percent_decode("%c3%A4"), "\xc3\xa4");
  EXPECT_EQ(percent_decode("%2520"), "%20");
  EXPECT_EQ(percent_decode(""), "");
  for (const char* text : {"%", "a%2", "%zz", "%+1", "% 1", "%%20", "a%00b", "%0"})
    EXPECT_EQ(percent_decode(text), std::nullopt) << text;
}

TEST(PercentCoding, of_every_byte_comes_back) {
  std::string every;
  for (int c = 1; c < 256; ++c) every += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(every)), every);
  EXPECT_EQ(percent_decode(percent_encode(every, Plain::kPath)), every);
  for (const char c : percent_encode(every)) EXPECT_TRUE(c > 0x20 && c < 0x7f);
}

}  // namespace
}  // namespace mcpbox
