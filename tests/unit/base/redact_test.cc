#include "base/redact.h"

#include <gtest/gtest.h>

#include "base/digest.h"

namespace mcpbox {
namespace {

TEST(Redactor, hides_a_secret_in_every_spelling) {
  Redactor redact;
  redact.add(Secret("p\"ss/w0rd!"));
  EXPECT_EQ(redact("key p\"ss/w0rd! end"), "key *** end");
  EXPECT_EQ(redact("url p%22ss%2Fw0rd%21 end"), "url *** end");
  EXPECT_EQ(redact("json p\\\"ss/w0rd! end"), "json *** end");
  EXPECT_EQ(redact("b64 cCJzcy93MHJk").find("cCJzcy93MHJk"), std::string::npos);
}

TEST(Redactor, leaves_short_values_because_they_would_hide_ordinary_words) {
  Redactor redact;
  redact.add(Secret("on"));
  EXPECT_TRUE(redact.empty());
  EXPECT_EQ(redact("turn on"), "turn on");
}

TEST(Redactor, hides_the_longer_of_two_nested_secrets_whole) {
  Redactor redact;
  redact.add(Secret("secret"));
  redact.add(Secret("my-secret-key"));
  EXPECT_EQ(redact("my-secret-key"), "***");
}

constexpr const char* kKey =
    "-----BEGIN PRIVATE KEY-----\r\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQ\r\n"
    "  q/hkiG+9w0BAQEFAASCBKcwgg  \r\n"
    "----------\n"
    "short\n"
    "-----END PRIVATE KEY-----\n";

TEST(Redactor, hides_each_line_of_a_secret_that_has_several) {
  Redactor redact;
  redact.add(Secret(kKey));
  EXPECT_EQ(redact("> MIIEvQIBADANBgkqhkiG9w0BAQ <"), "> *** <");
  EXPECT_EQ(redact("> q/hkiG+9w0BAQEFAASCBKcwgg <"), "> *** <");
  EXPECT_EQ(redact("> q%2FhkiG%2B9w0BAQEFAASCBKcwgg <"), "> *** <");
  EXPECT_EQ(redact(std::string("> ") + kKey + "<"), "> ***<");
}

TEST(Redactor, leaves_lines_of_a_key_that_are_the_same_in_every_key) {
  Redactor redact;
  redact.add(Secret(kKey));
  for (const char* common : {"-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "a short line", "----------"})
    EXPECT_EQ(redact(common), common);
}

TEST(Redactor, hides_the_lines_of_a_key_whose_line_breaks_are_escaped) {
  Redactor redact;
  redact.add(Secret(
      R"({"private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nqhkiG9w0BAQE\n-----END PRIVATE KEY-----\n"})"));
  EXPECT_EQ(redact("MIIEvQIBADAN qhkiG9w0BAQE"), "*** ***");
}

TEST(Redactor, hides_all_of_secrets_that_overlap) {
  Redactor redact;
  redact.add(Secret("abcdefgh"));
  redact.add(Secret("efghijk"));
  EXPECT_EQ(redact("-abcdefghijk-"), "-***-");
  EXPECT_EQ(redact("abcdefghabcdefgh"), "******");
}

TEST(Redactor, cuts_no_secret_in_two) {
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  const std::string text = "ab hunter2-hunter2 cd";
  for (std::size_t at = 0; at <= text.size(); ++at) {
    const std::size_t cut = redact.cut(text, at);
    EXPECT_EQ(redact(text.substr(0, cut)) + redact(text.substr(cut)), "ab *** cd") << at;
    EXPECT_LE(cut, at);
  }
  EXPECT_EQ(redact.cut("hunter2-hunter2 cd", 5), 15u);
}

TEST(Redactor, hides_the_beginning_of_a_secret_where_a_text_breaks_off) {
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  redact.add(Secret("er2-hunter2-and-more"));
  EXPECT_EQ(redact.broken_off("ab hunter2-hunt"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2-hunter2"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2-hunter2-an"), "ab ***");
  EXPECT_EQ(redact.broken_off("the hun"), "the hun");
  EXPECT_EQ(redact.broken_off("nothing"), "nothing");
  EXPECT_EQ(Redactor().broken_off("anything"), "anything");
}

TEST(Digest, agrees_with_the_published_test_vector) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, gives_random_identifiers_of_the_asked_length) {
  EXPECT_EQ(random_hex(16).size(), 32u);
  EXPECT_NE(random_hex(16), random_hex(16));
  for (int i = 0; i < 100; ++i) EXPECT_LT(random_below(7), 7u);
}

}  // namespace
}  // namespace mcpbox
