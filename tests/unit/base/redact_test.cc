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
